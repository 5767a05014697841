"""Litestar."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from litestar import Litestar, Request, get, post
from litestar.exceptions import HTTPException, NotAuthorizedException, WebSocketDisconnect
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components
from litestar.response import Response
from litestar.testing import TestClient

from sessionledger import AsyncSessionStore, Log
from sessionledger.integrations.litestar import RequestSessionDependency, Sessions
from sessionledger.testing import Clock
from tests.integrations.apps import litestar_app
from tests.integrations.conformance import UNKNOWN, Conformance
from tests.integrations.revoking import check_two_servers
from tests.integrations.site import COOKIE, HOST, OWN, POLICY, Answer, Headers, Site, opened


class LitestarSite(Site):
    """Asked through the test client of Litestar."""

    def __init__(self, log: Log, clock: Clock) -> None:
        super().__init__(log, clock)
        app = litestar_app.make(lambda: AsyncSessionStore(log, policy=POLICY, clock=clock))
        app.after_exception.append(self.notice)
        self.noticed: list[BaseException] = []
        url = "https://testserver.local"  # it warns of others
        self.client = TestClient(app, base_url=url, raise_server_exceptions=False)

    def ask(self, method: str, path: str, headers: Headers) -> Answer:
        told = [("Host", HOST), *headers]
        answer = self.client.request(method, path, headers=told, follow_redirects=False)
        self.client.cookies.clear()
        return Answer(answer.status_code, answer.text, answer.headers.multi_items())

    async def notice(self, error: BaseException, _: object) -> None:
        self.noticed.append(error)

    def raised(self, method: str, path: str, headers: Headers) -> BaseException:
        assert self.ask(method, path, headers).status == 500
        return self.noticed[-1]


class TestLitestar(Conformance):
    @pytest.fixture
    def site(self) -> Iterator[LitestarSite]:
        with opened(LitestarSite) as site:
            assert isinstance(site, LitestarSite)
            with site.client:
                yield site

    def test_the_document_shows_where_tokens_are_taken_from(self, site: LitestarSite) -> None:
        document = site.client.get("/schema/openapi.json").json()
        assert document["components"]["securitySchemes"] == {
            "bearer": {"type": "http", "scheme": "bearer"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        }
        paths = document["paths"]
        assert paths["/required"]["get"]["security"] == [{"bearer": []}, {"cookie": []}]
        assert "security" not in paths["/open"]["get"]
        assert [one["name"] for one in paths["/login"]["post"]["parameters"]] == [
            "principal",
            "parent",
        ]

    def test_a_websocket_is_for_who_has_a_session(self, site: LitestarSite) -> None:
        cookie = {"Host": HOST, "Cookie": f"{COOKIE}={site.create().token}"}
        with site.client.websocket_connect("/socket", headers=cookie | OWN) as socket:
            assert socket.receive_text() == "alice"
        for refused in (cookie, cookie | {"Origin": "https://evil.test"}, OWN):
            with (
                pytest.raises(WebSocketDisconnect),
                site.client.websocket_connect("/socket", headers=refused) as socket,
            ):
                socket.receive_text()


def test_the_components_of_the_application_stay() -> None:
    sessions = Sessions(lambda: AsyncSessionStore.open("memory:"))
    told = OpenAPIConfig("title", "1", components=Components(examples={}))
    app = Litestar([litestar_app.opened], plugins=[sessions], openapi_config=told)
    assert app.openapi_config is not None
    assert isinstance(app.openapi_config.components, list)
    assert app.openapi_config.components[0] is told.components
    Litestar([litestar_app.opened], plugins=[sessions], openapi_config=None)


@post("/failing")
async def failing(request_session: RequestSessionDependency) -> None:
    await request_session.log_in("alice")
    raise HTTPException(status_code=409)


@get("/own")
async def own(request_session: RequestSessionDependency) -> None:
    await request_session.required()


def answer(_: Request[Any, Any, Any], error: NotAuthorizedException) -> Response[str]:
    return Response("log in first", status_code=401, headers=error.headers)


def test_exceptions_are_the_frameworks_and_lose_no_cookie() -> None:
    sessions = Sessions(lambda: AsyncSessionStore.open("memory:"))
    app = Litestar(
        [failing, own],
        plugins=[sessions],
        exception_handlers={NotAuthorizedException: answer},
    )
    with TestClient(app, base_url="https://testserver.local") as client:
        refused = client.get("/own")
        assert (refused.status_code, refused.text) == (401, "log in first")
        assert refused.headers["www-authenticate"] == 'Bearer realm="sessionledger"'
        failed = client.post("/failing", headers=OWN)
        assert (failed.status_code, COOKIE in failed.headers["set-cookie"]) == (409, True)


def test_a_path_without_a_session_needs_no_lifespan() -> None:
    app = litestar_app.make(lambda: AsyncSessionStore.open("memory:"))
    client = TestClient(app, base_url="https://testserver.local", raise_server_exceptions=False)
    assert client.get("/open").text == "open"  # the lifespan runs only in a context manager
    assert client.get("/required").status_code == 401
    unknown = {"Authorization": f"Bearer {UNKNOWN}"}
    assert client.get("/required", headers=unknown).status_code == 500
    with client:
        assert client.get("/required", headers=unknown).status_code == 401


@pytest.mark.middle
def test_another_process_shuts_the_door(tmp_path: Path) -> None:
    app = "tests.integrations.apps.litestar_app:served"
    check_two_servers("uvicorn", app, tmp_path, "--factory")
