"""Litestar's server-side sessions in the ledger: what Litestar promises, and what is new."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from litestar import Litestar, Request, WebSocket, get, websocket
from litestar.connection import ASGIConnection
from litestar.datastructures import Cookie
from litestar.exceptions import ImproperlyConfiguredException
from litestar.middleware.session.base import BaseSessionBackend
from litestar.security.session_auth import SessionAuth
from litestar.testing import TestClient

from sessionledger import AsyncSessionStore, Log, Policy
from sessionledger.integrations.litestar import LedgerSessionConfig, Sessions
from sessionledger.testing import Clock
from tests.integrations.own_session import (
    COOKIE,
    LIFETIME,
    PATIENCE_SECONDS,
    SETTINGS,
    Answer,
    OwnSessionConformance,
    OwnSite,
    View,
)

AnyRequest = Request[Any, Any, Any]


@dataclass
class Basket:
    """A session as a model of the application."""

    basket: list[str]


class LitestarOwnSite(OwnSite):
    """Asked through Litestar's test client."""

    def __init__(self, log: Log, clock: Clock, policy: Policy) -> None:
        super().__init__(log, clock, policy)
        self.request_view: Any = None
        self.noticed: list[BaseException] = []
        self.before: View = nothing
        self.after: View = nothing
        self.start()

    def start(self) -> None:
        log: Any = self.log
        sessions = Sessions(
            lambda: AsyncSessionStore(log, policy=self.policy, clock=self.clock), settings=SETTINGS
        )
        self.config = LedgerSessionConfig(
            sessions=sessions,
            principal=None if self.principal_of is None else self.principal,
            exclude="/excluded",
        )

        @get(["/", "/excluded"], sync_to_thread=True)
        def view(request: AnyRequest) -> dict[str, Any]:
            if self.request_view is not None:
                return {"said": self.request_view(request)}
            return self.do(request.session)

        self.done = threading.Event()

        def noting(app: Any) -> Any:
            async def noted(scope: Any, receive: Any, send: Any) -> None:
                await app(scope, receive, send)
                if scope["type"] == "websocket":
                    self.done.set()

            return noted

        @websocket("/ws")
        async def talk(socket: WebSocket[Any, Any, Any]) -> None:
            self.before(socket.session)
            await socket.accept()
            await socket.send_json(dict(socket.session))
            self.after(socket.session)
            await socket.close()

        @get("/skipped", opt={"skip_session": True}, media_type="text/plain")
        async def skipped() -> str:
            return "skipped"

        self.app = Litestar(
            [view, talk, skipped],
            plugins=[sessions],
            middleware=[noting, self.config.middleware],
            after_exception=[self.notice],
            logging_config=None,
        )
        url = "https://testserver.local"
        client = TestClient(self.app, base_url=url, raise_server_exceptions=False)
        self.client = self.closing.enter_context(client)

    def raised(self, cookies: list[str]) -> BaseException:
        assert self.ask(cookies).status == 500
        return self.noticed[-1]

    async def notice(self, error: BaseException, _: object) -> None:
        self.noticed.append(error)

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

    def with_request(self, view: Any, token: str | None) -> Answer:
        """A request whose handler is given it."""
        self.request_view = view
        try:
            return self(dict, token)
        finally:
            self.request_view = None


class TestLitestarSession(OwnSessionConformance[LitestarOwnSite]):
    def make(self, log: Log, clock: Clock, policy: Policy) -> LitestarOwnSite:
        return LitestarOwnSite(log, clock, policy)

    @pytest.mark.parametrize(
        "value",
        [
            {1: "a"},
            (1, (2,)),
            float("inf"),
            2**70,
            {"b": 1, "a": 2},
            UUID(int=7),
            datetime(2026, 5, 2, tzinfo=UTC),
            {"set"},
            Basket(["tea"]),
        ],
        ids=lambda value: repr(value)[:20],
    )
    def test_a_value_comes_back_as_from_litestars_own_backend(
        self, site: LitestarOwnSite, value: Any
    ) -> None:
        token = site.begin(other=1)
        site(lambda session: session.update(it=value), token)
        told: list[Any] = []
        site(lambda session: told.append(session["it"]), token)
        expected = BaseSessionBackend.deserialize_data(
            BaseSessionBackend.serialize_data({"it": value})
        )
        assert told == [expected["it"]]
        assert repr(told) == repr([expected["it"]])

    def test_a_session_may_be_set_as_a_whole(self, site: LitestarOwnSite) -> None:
        token = site.begin(a=1)
        with site.writing("session_touched"):
            site.with_request(lambda request: request.set_session({"b": 2}), token)
        assert site.data(token) == {"b": 2}
        with site.writing("session_touched"):
            site.with_request(lambda request: request.set_session(Basket(["tea"])), token)
        assert site.data(token) == {"basket": ["tea"]}

    def test_a_session_that_is_set_logs_in_by_the_hook(
        self, site_with_hook: LitestarOwnSite
    ) -> None:
        site = site_with_hook
        site.start()
        token = site.begin(a=1)
        with site.writing("session_expired", "session_created"):
            issued = site.with_request(
                lambda request: request.set_session({"user": "alice"}), token
            ).cookie
        assert site.data(issued) == {"user": "alice"}
        assert site.store.count(principal="alice") == 1

    def test_a_session_that_is_cleared_ends(self, site: LitestarOwnSite) -> None:
        for token in (site.begin(a=1), site(lambda session: session.log_in("alice")).cookie):
            with site.writing("session_expired"):
                answer = site.with_request(lambda request: request.clear_session(), token)
            assert answer.cookie == "null"
            assert "Max-Age=0" in answer.headers["set-cookie"]
        with site.writing():
            assert site.with_request(lambda request: request.clear_session(), None).cookie is None

    def test_requests_put_off_the_end(self, site: LitestarOwnSite) -> None:
        token = site.begin(a=1)
        for _ in range(3):
            site.clock.advance(LIFETIME - timedelta(minutes=1))
            assert site.data(token) == {"a": 1}
        site.clock.advance(LIFETIME)
        assert site.data(token) == {}

    def test_the_cookie_is_sent_again_with_each_answer(self, site: LitestarOwnSite) -> None:
        token = site.begin(a=1)
        answer = site(dict, token)
        assert answer.cookie == token
        assert f"Max-Age={LIFETIME.total_seconds():.0f}" in answer.headers["set-cookie"]

    def test_the_id_of_a_session_is_nobodys_to_see(self, site: LitestarOwnSite) -> None:
        token = site.begin(a=1)
        assert site.with_request(lambda request: request.get_session_id(), token).said is None

    def test_a_handler_may_skip_the_session(self, site: LitestarOwnSite) -> None:
        site.log.away = True
        headers = {"Cookie": f"{COOKIE}={'a' * 40}"}
        assert site.client.get("/skipped", headers=headers).text == "skipped"

    def test_the_cookie_is_as_the_configuration_says(self) -> None:
        config = LedgerSessionConfig(
            key="shop",
            max_age=60,
            path="/shop",
            domain="example.org",
            secure=True,
            httponly=False,
            samesite="strict",
        )
        expected = Cookie(
            "shop",
            value="secret",
            max_age=60,
            path="/shop",
            domain="example.org",
            secure=True,
            samesite="strict",
        )
        sessions = Sessions(lambda: AsyncSessionStore.open("memory:"))
        kept = replace(config, sessions=sessions).own
        assert kept.set_cookie("secret") == expected.to_header(header="")

    def test_an_excluded_path_has_no_session(self, site: LitestarOwnSite) -> None:
        site.log.away = True
        headers = {"Cookie": f"{COOKIE}={'a' * 40}"}
        site.view = nothing
        assert site.client.get("/excluded", headers=headers).status_code == 500
        site.request_view = lambda _: 1
        assert site.client.get("/excluded", headers=headers).json() == {"said": 1}

    def test_a_websocket_sees_the_session_and_changes_it(self, site: LitestarOwnSite) -> None:
        token = site.begin(a=1)
        site.after = lambda session: session.update(b=2)
        headers = {"Cookie": f"{COOKIE}={token}"}
        with site.client.websocket_connect("/ws", headers=headers) as socket:
            assert socket.receive_json() == {"a": 1}
            assert site.done.wait(PATIENCE_SECONDS)
        assert site.data(token) == {"a": 1, "b": 2}

    def test_a_websocket_begins_a_session_when_it_is_accepted(self, site: LitestarOwnSite) -> None:
        site.before = lambda session: session.update(a=1)
        with site.client.websocket_connect("/ws") as socket:
            assert socket.receive_json() == {"a": 1}
        assert [one.is_anonymous for one in site.store.sessions()] == [True]

    def test_the_plugin_has_to_be_named(self) -> None:
        with pytest.raises(ImproperlyConfiguredException):
            LedgerSessionConfig().own  # noqa: B018

    def test_litestars_session_auth_works(self, site: LitestarOwnSite) -> None:
        sessions = Sessions(lambda: AsyncSessionStore(site.log, clock=site.clock))

        async def user(data: dict[str, Any], _: ASGIConnection[Any, Any, Any, Any]) -> Any:
            return data.get("user_id")

        auth = SessionAuth[Any, Any](
            retrieve_user_handler=user,
            session_backend_config=LedgerSessionConfig(
                sessions=sessions, principal=lambda data: data.get("user_id")
            ),
            exclude=["/login"],
        )

        @get("/login")
        async def log_in(request: AnyRequest) -> None:
            request.set_session({"user_id": "alice"})

        @get("/me")
        async def me(request: AnyRequest) -> str:
            return str(request.user)

        app = Litestar(
            [log_in, me], plugins=[sessions], on_app_init=[auth.on_app_init], logging_config=None
        )
        with TestClient(app, base_url="https://testserver.local") as client:
            assert client.get("/me").status_code == 401
            client.get("/login")
            assert client.get("/me").text == "alice"
            assert site.store.revoke_all("alice", reason="left") == 1
            assert client.get("/me").status_code == 401


def nothing(_: Any) -> None:
    """What a handler that leaves the session alone does."""
