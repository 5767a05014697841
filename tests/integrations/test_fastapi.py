"""FastAPI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from sessionledger import AsyncSessionStore, Session, StoreClosed
from sessionledger.integrations import Cookie, Settings
from sessionledger.integrations.fastapi import Sessions
from tests.integrations.apps import fastapi_app
from tests.integrations.asgi_site import AsgiSite, running
from tests.integrations.conformance import INVALID, PLAIN, UNKNOWN, Conformance
from tests.integrations.revoking import check_two_servers
from tests.integrations.site import COOKIE, HOST


class TestFastAPI(Conformance):
    @pytest.fixture
    def site(self) -> Iterator[AsgiSite]:
        with running(fastapi_app.make) as site:
            yield site

    def test_the_document_shows_where_tokens_are_taken_from(self, site: AsgiSite) -> None:
        document = site.client.get("/openapi.json").json()
        assert document["components"]["securitySchemes"] == {
            "bearer": {"type": "http", "scheme": "bearer"},
            "cookie": {"type": "apiKey", "in": "cookie", "name": COOKIE},
        }
        paths = document["paths"]
        for path in ("/required", "/current", "/admin", "/recent", "/twice"):
            assert paths[path]["get"]["security"] == [{"bearer": []}, {"cookie": []}], path
        scopes = ["orders:read", "orders:write"]
        assert paths["/scoped"]["get"]["security"] == [{"bearer": scopes}, {"cookie": scopes}]
        assert "security" not in paths["/open"]["get"]
        assert all("parameters" not in paths[path]["get"] for path in ("/required", "/scoped"))

    def test_a_websocket_is_for_who_has_a_session(self, site: AsgiSite) -> None:
        token = site.create().token
        with site.client.websocket_connect(
            "/socket", headers={"Authorization": f"Bearer {token}"}
        ) as socket:
            assert socket.receive_text() == "alice"
        for headers, challenge in (
            ({}, PLAIN),
            ({"Authorization": f"Bearer {UNKNOWN}"}, INVALID),
        ):
            assert refusal(site.client, headers) == (401, challenge)

    def test_another_sites_page_can_open_no_websocket_with_the_cookie(self, site: AsgiSite) -> None:
        cookie = {"Cookie": f"{COOKIE}={site.create().token}"}
        own = {"Host": HOST, "Origin": f"https://{HOST}"}
        with site.client.websocket_connect("/socket", headers=cookie | own) as socket:
            assert socket.receive_text() == "alice"
        evil = cookie | {"Origin": "https://evil.test"}
        assert refusal(site.client, evil) == (403, None)
        assert refusal(site.client, cookie) == (403, None)


def refusal(client: TestClient, headers: dict[str, str]) -> tuple[int, str | None]:
    """Status and challenge of a WebSocket that is not opened."""
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect("/socket", headers=headers),
    ):
        raise AssertionError("it was opened")
    return refused.value.status_code, refused.value.headers.get("www-authenticate")


def test_the_document_names_the_cookie_of_the_settings() -> None:
    settings = Settings(cookie=Cookie(name="sid", secure=False))
    sessions = Sessions(lambda: AsyncSessionStore.open("memory:"), settings=settings)
    app = FastAPI()
    app.get("/")(whoever(sessions))
    told = app.openapi()["components"]["securitySchemes"]["cookie"]
    assert told == {"type": "apiKey", "in": "cookie", "name": "sid"}


def whoever(sessions: Sessions) -> Callable[..., str]:
    def handler(session: Session = Depends(sessions.required)) -> str:  # noqa: B008
        return session.principal

    return handler


def test_a_path_without_a_session_needs_no_lifespan() -> None:
    app = fastapi_app.make(lambda: AsyncSessionStore.open("memory:"))
    client = TestClient(app)  # which runs the lifespan only as a context manager
    assert client.get("/open").text == "open"
    assert client.get("/required").status_code == 401
    with pytest.raises(StoreClosed):
        client.get("/required", headers={"Authorization": f"Bearer {UNKNOWN}"})


@pytest.mark.middle
def test_another_process_shuts_the_door(tmp_path: Path) -> None:
    app = "tests.integrations.apps.fastapi_app:served"
    check_two_servers("uvicorn", app, tmp_path, "--factory")
