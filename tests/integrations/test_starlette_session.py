"""`request.session` in the ledger, in Starlette and FastAPI: what they promise, and what is new."""

from __future__ import annotations

import asyncio
import json
import threading
from itertools import count
from typing import Any, cast

import httpx
import pytest
from fastapi import FastAPI
from fastapi import Request as FastAPIRequest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from sessionledger import AsyncSessionStore, Log, Policy
from sessionledger.integrations import Cookie, Settings, fastapi, starlette
from sessionledger.integrations.starlette import LedgerSessionMiddleware
from sessionledger.testing import Clock
from tests.integrations.own_session import (
    COOKIE,
    LIFETIME,
    PATIENCE_SECONDS,
    SETTINGS,
    Answer,
    OwnSessionConformance,
    OwnSite,
)
from tests.reported import raised_by


class AsgiOwnSite(OwnSite):
    """Asked through the test client of Starlette."""

    def raised(self, cookies: list[str]) -> BaseException:
        client = TestClient(self.app, base_url=str(self.client.base_url))
        headers = [("Cookie", cookie) for cookie in cookies]
        return raised_by(lambda: client.get("/", headers=headers))

    def ask(self, cookies: list[str]) -> Answer:
        headers = [("Cookie", cookie) for cookie in cookies]
        answer = self.client.get("/", headers=headers)
        self.client.cookies.clear()
        told = [line.partition(";")[0] for line in answer.headers.get_list("set-cookie")]
        cookie = [one.removeprefix(f"{COOKIE}=") for one in told]
        said = answer.json()["said"] if answer.status_code == 200 else None
        return Answer(
            answer.status_code, said, cookie[0] if cookie else None, dict(answer.headers.items())
        )

    def run(self, app: Any) -> None:
        self.app = app
        self.done = threading.Event()

        async def noting(scope: Any, receive: Any, send: Any) -> None:
            try:
                await app(scope, receive, send)
            finally:
                if scope["type"] == "websocket":
                    self.done.set()

        client = TestClient(noting, base_url="https://testserver", raise_server_exceptions=False)
        self.client = self.closing.enter_context(client)

    def open(self) -> AsyncSessionStore:
        log: Any = self.log
        return AsyncSessionStore(log, policy=self.policy, clock=self.clock)

    def finish(self, websocket: Any) -> None:
        """Let the handler go on, and wait until the application is done with the WebSocket."""
        self.done.clear()
        websocket.send_text("go on")
        assert self.done.wait(PATIENCE_SECONDS)

    def connect(self, token: str | None) -> Any:
        """A WebSocket, which the view of the site is called with."""
        cookie = {} if token is None else {"Cookie": f"{COOKIE}={token}"}
        return self.client.websocket_connect("/ws", headers=cookie)


class StarletteOwnSite(AsgiOwnSite):
    def __init__(self, log: Log, clock: Clock, policy: Policy) -> None:
        super().__init__(log, clock, policy)
        self.before = self.after = self.view
        self.start()

    def start(self) -> None:
        sessions = starlette.Sessions(self.open, settings=SETTINGS)

        def view(request: Request) -> Response:
            return JSONResponse(self.do(request.session))

        async def talk(websocket: WebSocket) -> None:
            self.before(websocket.session)
            await websocket.accept()
            await websocket.send_json(dict(websocket.session))
            await websocket.receive_text()
            self.after(websocket.session)

        self.run(
            Starlette(
                routes=[Route("/", view), WebSocketRoute("/ws", talk)],
                lifespan=sessions.lifespan,
                middleware=[
                    Middleware(
                        LedgerSessionMiddleware,
                        sessions=sessions,
                        principal=None if self.principal_of is None else self.principal,
                    )
                ],
            )
        )


class FastAPIOwnSite(AsgiOwnSite):
    def __init__(self, log: Log, clock: Clock, policy: Policy) -> None:
        super().__init__(log, clock, policy)
        self.start()

    def start(self) -> None:
        sessions = fastapi.Sessions(self.open, settings=SETTINGS)
        app = FastAPI(lifespan=sessions.lifespan)
        app.add_middleware(
            fastapi.LedgerSessionMiddleware,
            sessions=sessions,
            principal=None if self.principal_of is None else self.principal,
        )

        def view(request: FastAPIRequest) -> dict[str, Any]:
            return self.do(request.session)

        app.get("/")(view)
        self.run(app)


class TestFastAPISession(OwnSessionConformance[FastAPIOwnSite]):
    def make(self, log: Log, clock: Clock, policy: Policy) -> FastAPIOwnSite:
        return FastAPIOwnSite(log, clock, policy)


def nothing(_: Any) -> None:
    """What a handler that leaves the session alone does."""


class TestStarletteSession(OwnSessionConformance[StarletteOwnSite]):
    def make(self, log: Log, clock: Clock, policy: Policy) -> StarletteOwnSite:
        return StarletteOwnSite(log, clock, policy)

    @pytest.mark.parametrize(
        "value",
        [{1: "a", None: "b"}, (1, (2,)), float("inf"), 10**400, "\ud800", {"b": 1, "a": 2}, -0.0],
        ids=lambda value: repr(value)[:20],
    )
    def test_a_value_comes_back_as_from_starlettes_own_cookie(
        self, site: StarletteOwnSite, value: Any
    ) -> None:
        token = site.begin(other=1)
        site(lambda session: session.update(it=value), token)
        told: list[Any] = []
        site(lambda session: told.append(session["it"]), token)
        assert [repr(one) for one in told] == [repr(json.loads(json.dumps(value)))]

    def test_the_end_is_counted_from_the_last_change(self, site: StarletteOwnSite) -> None:
        token = site.begin(a=1)
        site.clock.advance(LIFETIME * 2 / 3)
        assert site.data(token) == {"a": 1}
        site(lambda session: session.update(a=2), token)
        site.clock.advance(LIFETIME * 2 / 3)
        assert site.data(token) == {"a": 2}
        site.clock.advance(LIFETIME / 3)
        assert site.data(token) == {}

    def test_a_request_without_a_cookie_needs_no_ledger(self, site: StarletteOwnSite) -> None:
        site.log.away = True
        assert site(dict).status == 200

    def test_what_cannot_be_stored_is_an_error_and_changes_nothing(
        self, site: StarletteOwnSite
    ) -> None:
        token = site.begin(a=1)
        assert site(lambda session: session.update(a=object()), token).status == 500
        assert site.data(token) == {"a": 1}

    def test_a_websocket_sees_the_session_and_changes_it(self, site: StarletteOwnSite) -> None:
        token = site.begin(a=1)
        site.before = nothing
        site.after = lambda session: session.update(b=2)
        with site.writing("session_touched"), site.connect(token) as websocket:
            assert websocket.receive_json() == {"a": 1}
            site.finish(websocket)
        assert site.data(token) == {"a": 1, "b": 2}

    def test_a_websocket_begins_a_session_when_it_is_accepted(self, site: StarletteOwnSite) -> None:
        site.before = lambda session: session.update(a=1)
        site.after = lambda session: session.update(b=2)
        with site.connect(None) as websocket:
            cookies = [value for name, value in websocket.extra_headers if name == b"set-cookie"]
            site.finish(websocket)
        token = cookies[0].decode().partition(";")[0].removeprefix(f"{COOKIE}=")
        assert site.data(token) == {"a": 1, "b": 2}

    def test_a_websocket_goes_on_with_the_session_that_it_logged_in(
        self, site: StarletteOwnSite
    ) -> None:
        site.before = lambda session: session.log_in("alice")
        site.after = lambda session: session.update(b=2)
        with site.connect(site.begin(a=1)) as websocket:
            site.finish(websocket)
        (session,) = site.store.sessions(principal="alice")
        assert session.attributes.keys() == {"a", "b"}

    def test_a_websocket_that_began_without_a_session_begins_none_later(
        self, site: StarletteOwnSite
    ) -> None:
        site.before = nothing
        site.after = lambda session: session.update(b=2)
        with site.writing(), site.connect(None) as websocket:
            site.finish(websocket)

    @pytest.mark.parametrize("change", [lambda s: s.clear(), lambda s: s.log_in("bob")])
    def test_a_websocket_logs_out_and_never_in_once_it_was_accepted(
        self, site: StarletteOwnSite, change: Any
    ) -> None:
        token = site(lambda session: session.log_in("alice")).cookie
        site.before, site.after = nothing, change
        with site.writing("session_expired"), site.connect(token) as websocket:
            site.finish(websocket)
        assert site.store.count() == 0

    def test_a_websocket_that_ends_after_a_log_out_saves_nothing(
        self, site: StarletteOwnSite
    ) -> None:
        token = site.begin(a=1)
        site.before = nothing
        site.after = lambda session: session.update(b=2)
        with site.connect(token) as websocket:
            site.store.expire(token)
            site.finish(websocket)
        assert site.store.count() == 0

    def test_by_the_name_of_its_cookie_the_request_session_is_the_same(
        self, site: StarletteOwnSite
    ) -> None:
        settings = Settings(cookie=Cookie(name=COOKIE))
        sessions = starlette.Sessions(site.open, settings=settings)

        async def account(request: Request) -> Response:
            session = await sessions.for_request(request).required()
            return JSONResponse(session.principal)

        async def log_in(request: Request) -> Response:
            cast(Any, request.session).log_in("alice")
            return JSONResponse("welcome")

        app = Starlette(
            routes=[Route("/account", account), Route("/login", log_in)],
            lifespan=sessions.lifespan,
            middleware=[
                Middleware(LedgerSessionMiddleware, sessions=sessions),
                Middleware(sessions.middleware),
            ],
        )
        with TestClient(app, base_url="https://testserver") as client:
            assert client.get("/account").status_code == 401
            client.get("/login")
            assert client.get("/account").json() == "alice"

    def test_a_websocket_is_closed_while_the_ledger_is_away(self, site: StarletteOwnSite) -> None:
        token = site.begin(a=1)
        site.log.away = True
        with pytest.raises(WebSocketDisconnect) as caught, site.connect(token):
            pass
        assert caught.value.code == 1013

    def test_several_event_loops_share_the_sessions(self, site: StarletteOwnSite) -> None:
        token, names, barrier = site.begin(first=1), count(), threading.Barrier(3)
        site.view = lambda session: session.update({str(next(names)): 1})

        async def asking() -> None:
            transport = httpx.ASGITransport(site.app)
            async with httpx.AsyncClient(transport=transport, base_url="https://t") as client:
                for _ in range(5):
                    answer = await client.get("/", headers={"Cookie": f"{COOKIE}={token}"})
                    assert answer.status_code == 200

        def run() -> None:
            barrier.wait()
            asyncio.run(asking())

        threads = [threading.Thread(target=run) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert site.data(token).keys() == {"first", *map(str, range(15))}
