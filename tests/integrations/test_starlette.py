"""Starlette: the suite, its own authentication, and the life of the store."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.authentication import requires
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from sessionledger import ANONYMOUS, AsyncSessionStore, SessionStore, StoreClosed, open_log
from sessionledger.integrations.starlette import SessionBackend, Sessions
from tests.integrations.apps import starlette_app
from tests.integrations.asgi_site import running
from tests.integrations.conformance import Conformance
from tests.integrations.revoking import check_two_servers
from tests.integrations.site import Site


class TestStarlette(Conformance):
    @pytest.fixture
    def site(self) -> Iterator[Site]:
        with running(starlette_app.make) as site:
            yield site


@requires(["authenticated", "orders"])
async def orders(request: Request) -> Response:
    user = request.user
    return PlainTextResponse(f"{user.display_name} {user.identity} {user.is_authenticated}")


async def anybody(request: Request) -> Response:
    return PlainTextResponse(str(request.user.is_authenticated))


def test_the_backend_tells_starlette_who_is_there() -> None:
    log = open_log("memory:")
    sessions = Sessions(lambda: AsyncSessionStore(log))
    app = Starlette(
        routes=[Route("/orders", orders), Route("/", anybody)],
        lifespan=sessions.lifespan,
        middleware=[
            Middleware(sessions.middleware),
            Middleware(AuthenticationMiddleware, backend=SessionBackend(sessions)),
        ],
    )
    store = SessionStore(log)

    def ask(path: str, token: str) -> tuple[int, str]:
        answer = client.get(path, headers={"Authorization": f"Bearer {token}"})
        return answer.status_code, answer.text

    with TestClient(app) as client:
        able = store.create("alice", attributes={"scope": "orders"}).token
        assert ask("/orders", able) == (200, "alice alice True")
        assert ask("/orders", store.create("bob").token)[0] == 403
        assert ask("/orders", "garbage")[0] == 403
        visitor = store.create(ANONYMOUS, attributes={"scope": "orders authenticated"}).token
        assert (ask("/orders", visitor)[0], ask("/", visitor)) == (403, (200, "False"))
        assert (ask("/", able), ask("/", "garbage")) == ((200, "True"), (200, "False"))
    log.close()


def test_lifespans_that_overlap_share_the_store() -> None:
    sessions = Sessions(lambda: AsyncSessionStore.open("memory:"))

    async def overlap() -> None:
        outer, inner = sessions.lifespan(), sessions.lifespan()
        async with outer:
            issued = await sessions.store.create("alice")
            async with inner:
                assert await sessions.store.get(issued.token) is not None
            assert await sessions.store.get(issued.token) is not None, "the outer one lasts"
        with pytest.raises(StoreClosed):
            assert sessions.store

    asyncio.run(overlap())


def test_a_path_without_a_session_needs_no_lifespan() -> None:
    sessions = Sessions(lambda: AsyncSessionStore.open("memory:"))
    app = Starlette(
        routes=starlette_app.routes(sessions), middleware=[Middleware(sessions.middleware)]
    )
    client = TestClient(app)  # which runs the lifespan only as a context manager
    assert client.get("/open").text == "open"
    assert client.get("/required").status_code == 401
    with pytest.raises(StoreClosed):
        client.get("/required", headers={"Authorization": "Bearer " + "x" * 43})


def test_the_store_is_open_while_the_application_runs() -> None:
    sessions = Sessions(lambda: AsyncSessionStore.open("memory:"))
    app = Starlette(lifespan=sessions.lifespan)
    for _ in range(2):
        with pytest.raises(StoreClosed):
            assert sessions.store
        with TestClient(app):
            assert sessions.store
    with pytest.raises(StoreClosed):
        assert sessions.store


def test_an_application_without_the_middleware_is_told_so() -> None:
    sessions = Sessions(lambda: AsyncSessionStore.open("memory:"))

    async def home(request: Request) -> Response:
        await sessions.for_request(request).session()
        raise AssertionError

    app = Starlette(routes=[Route("/", home)], lifespan=sessions.lifespan)
    with TestClient(app) as client, pytest.raises(RuntimeError, match="middleware"):
        client.get("/")


def test_another_process_shuts_the_door(tmp_path: Path) -> None:
    app = "tests.integrations.apps.starlette_app:served"
    check_two_servers("uvicorn", app, tmp_path, "--factory")
