"""What Litestar documents of its stores, and what it keeps in them, over the ledger.

Litestar's source distribution has no tests, so there is one here for each documented behaviour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from litestar import Litestar, Request, get, post
from litestar.config.response_cache import ResponseCacheConfig
from litestar.middleware.rate_limit import RateLimitConfig
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.base import NamespacedStore
from litestar.stores.registry import StoreRegistry
from litestar.testing import TestClient

from sessionledger import AsyncSessionStore, LogUnavailable, SessionStore, open_log
from sessionledger.integrations.litestar import LedgerStore, Sessions
from sessionledger.testing import Clock
from tests.integrations.processes import ledger_in, served

T = TypeVar("T")
MINUTE = timedelta(minutes=1)
URL = "https://testserver.local"


class Ledger:
    """A ledger in memory with its clock, and calls on a store of Litestar's kind over it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.log = open_log("memory:")
        self.sessions = Sessions(lambda: AsyncSessionStore(self.log, clock=self.clock))
        self.store = LedgerStore(self.sessions)

    def __call__(self, call: Callable[[LedgerStore], Awaitable[T]]) -> T:
        async def made() -> T:
            async with self.sessions.lifespan():
                return await call(self.store)

        return asyncio.run(made())

    def payloads(self) -> bytes:
        return b"".join(event.payload for event in SessionStore(self.log).events())


@pytest.fixture
def ledger() -> Iterator[Ledger]:
    ledger = Ledger()
    yield ledger
    ledger.log.close()


@pytest.mark.parametrize("value", [b"bytes", b"\xff\x00", "text", "ä", b"", ""])
def test_a_value_is_answered_as_bytes(ledger: Ledger, value: str | bytes) -> None:
    assert ledger(lambda store: store.get("key")) is None
    ledger(lambda store: store.set("key", b"before"))
    ledger(lambda store: store.set("key", value))
    kept = ledger(lambda store: store.get("key"))
    assert kept == (value.encode() if isinstance(value, str) else value)


@pytest.mark.parametrize("span", [60, MINUTE])
def test_a_value_expires(ledger: Ledger, span: int | timedelta) -> None:
    ledger(lambda store: store.set("key", b"value", expires_in=span))
    assert ledger(lambda store: store.expires_in("key")) == 60
    ledger.clock.advance(timedelta(seconds=59.5))
    assert ledger(lambda store: store.expires_in("key")) == 0
    assert ledger(lambda store: store.get("key")) == b"value"
    ledger.clock.advance(timedelta(seconds=0.5))
    assert ledger(lambda store: store.get("key")) is None
    assert ledger(lambda store: store.exists("key")) is False
    assert ledger(lambda store: store.expires_in("key")) is None


@pytest.mark.parametrize("span", [60, MINUTE])
def test_a_look_renews_a_value_that_expires(ledger: Ledger, span: int | timedelta) -> None:
    ledger(lambda store: store.set("key", b"value", expires_in=10))
    assert ledger(lambda store: store.get("key", renew_for=span)) == b"value"
    assert ledger(lambda store: store.expires_in("key")) == 60


def test_a_renewal_of_a_value_without_an_end_does_nothing(ledger: Ledger) -> None:
    ledger(lambda store: store.set("key", b"value"))
    ledger(lambda store: store.get("key", renew_for=10))
    assert ledger(lambda store: store.expires_in("key")) is None
    ledger.clock.advance(timedelta(days=365))
    assert ledger(lambda store: store.get("key")) == b"value"


def test_what_is_set_again_has_the_new_end(ledger: Ledger) -> None:
    ledger(lambda store: store.set("key", b"value", expires_in=10))
    ledger(lambda store: store.set("key", b"value"))
    assert ledger(lambda store: store.expires_in("key")) is None
    ledger(lambda store: store.set("key", b"value", expires_in=0))
    assert ledger(lambda store: store.exists("key")) is False


def test_a_key_is_deleted_and_one_that_is_not_there_is_no_error(ledger: Ledger) -> None:
    ledger(lambda store: store.delete("key"))
    ledger(lambda store: store.set("key", b"value"))
    assert ledger(lambda store: store.exists("key")) is True
    ledger(lambda store: store.delete("key"))
    assert ledger(lambda store: store.exists("key")) is False


def test_bulk_deletion_reaches_inner_namespaces_and_nothing_else(ledger: Ledger) -> None:
    async def check(root: LedgerStore) -> None:
        assert isinstance(root, NamespacedStore)
        inner, sibling = root.with_namespace("a"), root.with_namespace("b")
        innermost = inner.with_namespace("a")
        stores = [root, inner, sibling, innermost]
        for number, store in enumerate(stores):
            await store.set("key", str(number))
        assert [await store.get("key") for store in stores] == [b"0", b"1", b"2", b"3"]
        await inner.delete("key")
        assert [await store.exists("key") for store in stores] == [True, False, True, True]
        await inner.set("key", b"1")
        await inner.delete_all()
        assert [await store.exists("key") for store in stores] == [True, False, True, False]
        await root.delete_all()
        assert [await store.exists("key") for store in stores] == [False] * 4

    login = SessionStore(ledger.log, clock=ledger.clock).create("alice")
    ledger(check)
    assert SessionStore(ledger.log, clock=ledger.clock).get(login.token) is not None


@get("/visits")
async def visits(request: Request[Any, Any, Any]) -> int:
    count = int(request.session.get("visits", 0)) + 1
    request.session["visits"] = count
    return count


@post("/leave")
async def leave(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


CALLS: list[int] = []


@get("/cached", cache=60)
async def cached() -> int:
    CALLS.append(1)
    return len(CALLS)


@get("/limited")
async def limited() -> str:
    return "ok"


def application(sessions: Sessions) -> Litestar:
    """What Litestar keeps in stores, each in a namespace that is made when it is first used."""
    root = LedgerStore(sessions)
    return Litestar(
        [visits, leave, cached, limited],
        plugins=[sessions],
        stores=StoreRegistry(default_factory=root.with_namespace),
        response_cache_config=ResponseCacheConfig(),
        middleware=[
            ServerSideSessionConfig(renew_on_access=True, max_age=3600).middleware,
            RateLimitConfig(("minute", 3), exclude=["/visits", "/leave", "/cached"]).middleware,
        ],
        logging_config=None,
    )


@pytest.fixture
def client(ledger: Ledger) -> Iterator[TestClient[Litestar]]:
    with TestClient(application(ledger.sessions), base_url=URL) as client:
        yield client


def test_server_side_sessions_are_kept(ledger: Ledger, client: TestClient[Litestar]) -> None:
    assert [client.get("/visits").json() for _ in range(3)] == [1, 2, 3]
    cookie = client.cookies["session"]
    assert cookie.encode() not in ledger.payloads(), "who steals the ledger has no cookie"
    ledger.clock.advance(timedelta(minutes=59))
    assert client.get("/visits").json() == 4
    ledger.clock.advance(timedelta(minutes=59))
    assert client.get("/visits").json() == 5, "each request renewed it"
    client.post("/leave")
    client.cookies.set("session", cookie)
    assert client.get("/visits").json() == 1, "an old cookie brings nothing back"
    ledger.clock.advance(timedelta(minutes=61))
    assert client.get("/visits").json() == 1


def test_responses_are_cached(ledger: Ledger, client: TestClient[Litestar]) -> None:
    first = client.get("/cached")
    assert client.get("/cached").text == first.text
    ledger.clock.advance(timedelta(seconds=61))
    assert client.get("/cached").json() == first.json() + 1


def test_requests_are_limited(client: TestClient[Litestar]) -> None:
    assert [client.get("/limited").status_code for _ in range(5)] == [200, 200, 200, 429, 429]


def test_a_second_run_of_an_application_finds_what_the_first_kept(ledger: Ledger) -> None:
    app = application(ledger.sessions)
    with TestClient(app, base_url=URL) as client:
        client.get("/visits")
        cookie = client.cookies["session"]
    with TestClient(app, base_url=URL) as client:
        client.cookies.set("session", cookie)
        assert client.get("/visits").json() == 2


def test_a_ledger_that_is_away_is_answered_by_503(
    ledger: Ledger, client: TestClient[Litestar], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise LogUnavailable("the disk is gone")

    client.cookies.set("session", "0" * 64)
    monkeypatch.setattr(type(ledger.log), "rows", away)
    for path in ("/visits", "/limited", "/cached"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "disk" not in answer.text


def served_app() -> Litestar:
    """For a server, which gives it the ledger in a variable."""
    import os

    return application(Sessions(lambda: AsyncSessionStore.open(os.environ["LEDGER"])))


@pytest.mark.middle
def test_two_servers_share_what_they_keep(tmp_path: Path) -> None:
    app = "tests.integrations.test_litestar_store:served_app"
    with SessionStore.open(ledger_in(tmp_path)):
        pass
    with (
        served("uvicorn", app, tmp_path, "--factory") as one,
        served("uvicorn", app, tmp_path, "--factory") as other,
    ):
        assert one.get("/visits").json() == 1
        cookies = {"Cookie": f"session={one.cookies['session']}"}
        assert other.get("/visits", headers=cookies).json() == 2
        assert one.get("/cached").json() == other.get("/cached").json()
        codes = [side.get("/limited").status_code for side in (one, other, one, other)]
        assert codes == [200, 200, 200, 429]
