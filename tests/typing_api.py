"""What a type checker makes of the public names. Checked by mypy, never run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from typing import Any, assert_type

from sessionledger import (
    AsyncKeyValueStore,
    AsyncSessionStore,
    Finding,
    Handle,
    HistoryEntry,
    HistoryPage,
    IssuedSession,
    KeyValueStore,
    LedgerHead,
    Log,
    Page,
    Policy,
    Session,
    SessionStore,
    Stats,
    StoredEvent,
    Verification,
    diagnose,
    open_log,
)
from sessionledger.integrations import Requirements, flask, starlette
from sessionledger.integrations.request_session import RequestSession
from sessionledger.integrations.sync import SyncRequestSession
from sessionledger.store.aio.by_handle import AsyncSessions
from sessionledger.store.sync.store import History, Sessions


def opening(log: Log) -> None:
    policy = Policy(ttl=timedelta(hours=1), idle_timeout=None)
    assert_type(open_log("memory:", durability="normal"), Log)
    assert_type(SessionStore(log, policy=policy, topic="sessions"), SessionStore)
    assert_type(SessionStore.open("memory:", policy=policy), SessionStore)
    assert_type(AsyncSessionStore(log), AsyncSessionStore)
    assert_type(AsyncSessionStore.open("memory:"), AsyncSessionStore)
    with SessionStore.open("memory:") as store:
        assert_type(store, SessionStore)


async def entering() -> None:
    async with AsyncSessionStore.open("memory:") as store:
        assert_type(store, AsyncSessionStore)


def a_session(issued: IssuedSession, session: Session, now: datetime) -> None:
    assert_type(issued.token, str)
    assert_type(issued.handle, Handle)
    assert_type(session.handle, Handle)
    assert_type(session.principal, str)
    assert_type(session.expires_at, datetime)
    assert_type(session.deadline, datetime | None)
    assert_type(session.ended_at, datetime | None)
    assert_type(session.attributes, dict[str, Any])
    assert_type(session.version, int)
    assert_type(session.is_expired_at(now), bool)
    as_text: str = session.handle
    also_a_session: Session = issued
    assert as_text
    assert also_a_session


def mistakes(store: SessionStore, session: Session, issued: IssuedSession) -> None:
    """A session that was read has no token, and text is no handle before it is called one."""
    session.token  # type: ignore[attr-defined]  # noqa: B018
    session.principal = "mallory"  # type: ignore[misc]
    handle: Handle = issued.token  # type: ignore[assignment]
    store.get(session)  # type: ignore[arg-type]
    store.find(handle)  # type: ignore[call-arg]
    store.create("alice", ttl=3600)  # type: ignore[arg-type]


def using(store: SessionStore, token: str) -> None:
    issued = store.create("alice", ttl=timedelta(hours=1), attributes={"role": "reader"})
    assert_type(issued, IssuedSession)
    assert_type(store.get(token), Session | None)
    assert_type(store.touch(token, context={"device": "phone"}), Session | None)
    assert_type(store.expire(token, reason="logout"), Session | None)
    assert_type(store.find(handle=issued.handle), Session | None)
    assert_type(store.revoke(handle="sha256:v1:…"), Session | None)
    assert_type(store.history(principal="alice"), History)
    assert_type(list(store.history(principal="alice")), list[HistoryEntry])
    assert_type(store.history(principal="alice").pages(), Iterator[HistoryPage])
    assert_type(store.sessions(), Sessions)
    assert_type(iter(store.sessions()), Iterator[Session])
    assert_type(store.sessions().pages(), Iterator[Page])
    assert_type(store.count(state="all"), int)


def keeping(store: SessionStore) -> None:
    values = KeyValueStore(store, "drafts")
    assert_type(values.get("letter", renew_for=60), bytes | None)
    assert_type(values.ttl("letter"), float | None)
    assert_type(values.exists("letter"), bool)
    values.set("letter", b"Dear Bob", ttl=timedelta(hours=1))
    values.set("letter", "Dear Bob")  # type: ignore[arg-type]
    AsyncKeyValueStore(store)  # type: ignore[arg-type]


async def keeping_in_a_loop(store: AsyncSessionStore) -> None:
    values = AsyncKeyValueStore(store)
    assert_type(await values.get("letter"), bytes | None)
    KeyValueStore(store)  # type: ignore[arg-type]


def auditing(store: SessionStore) -> None:
    assert_type(store.events(after=7), Iterator[StoredEvent])
    assert_type(store.head(), LedgerHead)
    assert_type(store.verify(expect=str(store.head())), Verification)
    assert_type(store.verify(progress=lambda done: None).ok, bool)
    assert_type(store.rebuild(), int)
    assert_type(store.diagnose(progress=lambda done, total: None), list[Finding])
    assert_type(diagnose("memory:"), list[Finding])
    assert_type(store.stats(), Stats)


async def awaiting(store: AsyncSessionStore, token: str) -> None:
    issued = await store.create("alice", expires_at=None)
    assert_type(issued, IssuedSession)
    assert_type(await store.get(token), Session | None)
    assert_type(await store.touch(token, ttl=timedelta(hours=1)), Session | None)
    assert_type(await store.expire(token), Session | None)
    assert_type(await store.find(handle=issued.handle), Session | None)
    assert_type(await store.revoke(handle=issued.handle), Session | None)
    assert_type([one async for one in store.history(handle=issued.handle)], list[HistoryEntry])
    assert_type(store.history(handle=issued.handle).pages(), AsyncIterator[HistoryPage])
    assert_type(store.sessions(principal="alice"), AsyncSessions)
    assert_type(aiter(store.sessions()), AsyncIterator[Session])
    assert_type(store.sessions().pages(), AsyncIterator[Page])
    assert_type([session async for session in store.sessions()], list[Session])
    assert_type(await store.count(), int)


async def with_request_session(
    request_session: RequestSession,
    here: SyncRequestSession,
    starlette: starlette.Sessions,
    flask: flask.Sessions,
) -> None:
    assert_type(await request_session.session(), Session | None)
    assert_type(await request_session.required(Requirements(scopes=["read"])), Session)
    assert_type(await request_session.log_in("alice", ttl=timedelta(hours=1)), IssuedSession)
    assert_type(await request_session.rotate(), IssuedSession)
    assert_type(await request_session.change_credentials(), IssuedSession)
    assert_type(await request_session.log_out_everywhere(), int)
    assert_type(here.session(), Session | None)
    assert_type(here.required(), Session)
    assert_type(here.log_in("alice"), IssuedSession)
    assert_type(starlette.store, AsyncSessionStore)
    assert_type(flask.store, SessionStore)
    assert_type(flask.current, Session | None)
    here.log_in("alice", ttl=3600)  # type: ignore[arg-type]
    await request_session.required("read")  # type: ignore[arg-type]


async def auditing_too(store: AsyncSessionStore) -> None:
    assert_type(store.events(), AsyncIterator[StoredEvent])
    assert_type(await store.head(), LedgerHead)
    assert_type(await store.verify(), Verification)
    assert_type(await store.rebuild(), int)
    assert_type(await store.diagnose(), list[Finding])
    assert_type(await store.stats(), Stats)
