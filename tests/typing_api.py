"""What a type checker says of the public API. Never executed; mypy reads it with the rest.

The ignores are assertions too: mypy complains about each that is no longer needed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from sessionledger import (
    AsyncSessionStore,
    Handle,
    HistoryEntry,
    InvalidSession,
    IssuedSession,
    LedgerHead,
    Log,
    Page,
    Policy,
    Session,
    SessionLedgerError,
    SessionStore,
    Stats,
    StoredEvent,
    Verification,
    open_log,
)

HOUR = timedelta(hours=1)


def opening(log: Log) -> None:
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)  # noqa: E731
    assert_type(open_log("memory:", durability="normal"), Log)
    assert_type(SessionStore(log, policy=Policy(ttl=HOUR), clock=clock), SessionStore)
    assert_type(AsyncSessionStore(log, topic="visits"), AsyncSessionStore)
    assert_type(AsyncSessionStore.open("memory:"), AsyncSessionStore)
    with SessionStore.open("memory:", policy=Policy.reference()) as store:
        assert_type(store, SessionStore)
    SessionStore.open("memory:", Policy())  # type: ignore[call-arg]  # options have names


def life(store: SessionStore, now: datetime) -> None:
    issued = store.create("alice", ttl=HOUR, attributes={"role": "operator"}, context={"a": "b"})
    assert_type(issued, IssuedSession)
    assert_type(issued.token, str)
    assert_type(store.get(issued.token, now=now), Session | None)
    assert_type(store.touch(issued.token, attributes={}), Session | None)
    assert_type(store.expire(issued.token, reason="logout"), Session | None)
    store.create("alice", HOUR)  # type: ignore[call-arg, arg-type]  # a span could be anything
    store.create("alice", ttl=3600)  # type: ignore[arg-type]  # seconds? minutes?


def session(found: Session) -> None:
    assert_type(found.handle, Handle)
    assert_type(found.principal, str)
    assert_type(found.attributes, dict[str, Any])
    assert_type(found.created_at, datetime)
    assert_type(found.last_seen_at, datetime)
    assert_type(found.expires_at, datetime)
    assert_type(found.deadline, datetime | None)
    assert_type(found.ended_at, datetime | None)
    assert_type(found.version, int)
    assert_type(found.is_expired_at(found.created_at), bool)
    found.token  # type: ignore[attr-defined]  # only an issued one has it  # noqa: B018
    found.principal = "mallory"  # type: ignore[misc]


def handles(found: Session, token: str) -> None:
    """A handle can be told from a token where a caller's own code says which it wants."""

    def revoke(handle: Handle) -> None: ...

    revoke(found.handle)
    revoke(token)  # type: ignore[arg-type]


def administration(store: SessionStore, handle: Handle) -> None:
    assert_type(store.find(handle=handle), Session | None)
    assert_type(store.revoke(handle=handle, actor="root"), Session | None)
    assert_type(store.history(principal="alice"), list[HistoryEntry])
    assert_type(store.sessions(principal="alice").pages(), Iterator[Page])
    assert_type(iter(store.sessions(live=False)), Iterator[Session])
    assert_type(store.count(principal="alice", live=False), int)
    assert_type(store.events(after=7), Iterator[StoredEvent])
    assert_type(store.head(), LedgerHead)
    assert_type(store.verify(expect=str(store.head())), Verification)
    assert_type(store.verify().ok, bool)
    assert_type(store.rebuild(), int)
    assert_type(store.stats(), Stats)
    store.find(handle)  # type: ignore[call-arg]  # a handle is passed by name


async def in_a_loop(store: AsyncSessionStore, handle: Handle) -> None:
    async with store as entered:
        assert_type(entered, AsyncSessionStore)
    issued = await store.create("alice")
    assert_type(issued, IssuedSession)
    assert_type(await store.get(issued.token), Session | None)
    assert_type(await store.touch(issued.token, ttl=HOUR), Session | None)
    assert_type(await store.expire(issued.token), Session | None)
    assert_type(await store.find(handle=handle), Session | None)
    assert_type(await store.history(handle=handle), list[HistoryEntry])
    assert_type(store.sessions().pages(), AsyncIterator[Page])
    async for one in store.sessions():
        assert_type(one, Session)
    async for event in store.events():
        assert_type(event, StoredEvent)
    assert_type(await store.count(), int)
    assert_type(await store.stats(), Stats)


def errors(error: SessionLedgerError) -> None:
    assert_type(error.code, str)
    if isinstance(error, InvalidSession):
        assert_type(error.field, str)
        caught: ValueError = error
        assert caught
