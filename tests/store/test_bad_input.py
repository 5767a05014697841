"""Tokens, principals, times and places that can't be taken: refused by name, nothing written."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from sessionledger import AsyncSessionStore, InvalidPolicy, InvalidSession, Policy, SessionStore
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.clock import NOON
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import Bench

Call: TypeAlias = Callable[[SessionStore], object]

NAIVE = datetime(2026, 5, 2, 13)  # noqa: DTZ001  naive is what it is about
SURROGATE = "\ud800"
HANDLE_SHAPED = "sha256:v1:" + "0" * 64
HOUR = timedelta(hours=1)


class Refused(NamedTuple):
    """A call that is refused, and the argument that it is refused for."""

    field: str
    why: str
    call: Call

    def __str__(self) -> str:
        return f"{self.field}-{self.why}"


def creating(field: str, why: str, **named: Any) -> Refused:
    return Refused(field, f"create-{why}", lambda s: s.create(**{"principal": "bob", **named}))


def touching(field: str, why: str, **named: Any) -> Refused:
    return Refused(field, f"touch-{why}", lambda s: s.touch(TOKEN, **named))


def with_token(why: str, token: Any) -> list[Refused]:
    calls: dict[str, Call] = {
        "create": lambda s: s.create("bob", token=token),
        "get": lambda s: s.get(token),
        "touch": lambda s: s.touch(token),
        "expire": lambda s: s.expire(token),
    }
    return [Refused("token", f"{name}-{why}", call) for name, call in calls.items()]


def with_handle(why: str, handle: Any) -> list[Refused]:
    calls: dict[str, Call] = {
        "find": lambda s: s.find(handle=handle),
        "revoke": lambda s: s.revoke(handle=handle),
        "history": lambda s: list(s.history(handle=handle)),
    }
    return [Refused("handle", f"{name}-{why}", call) for name, call in calls.items()]


def with_principal(why: str, principal: Any) -> list[Refused]:
    calls: dict[str, Call] = {
        "create": lambda s: s.create(principal),
        "sessions": lambda s: list(s.sessions(principal=principal)),
        "count": lambda s: s.count(principal=principal),
        "history": lambda s: list(s.history(principal=principal)),
    }
    return [Refused("principal", f"{name}-{why}", call) for name, call in calls.items()]


def with_page(field: str, why: str, **named: Any) -> Refused:
    return Refused(field, why, lambda s: list(s.sessions(**named)))


def forged(*place: Any) -> str:
    """A cursor that says what none of ours would."""
    return urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


TOKENS = [
    *with_token("empty", ""),
    *with_token("blank", " " * 40),
    *with_token("short", "x" * 31),
    *with_token("short-when-trimmed", " " * 9 + "x" * 31),
    *with_token("long", "x" * 513),
    *with_token("shaped-like-a-handle", HANDLE_SHAPED),
    *with_token("bytes", TOKEN.encode()),
    *with_token("number", 10**40),
    *with_token("surrogate", "x" * 40 + SURROGATE),
]
HANDLES = [
    *with_handle("token", TOKEN),
    *with_handle("empty", ""),
    *with_handle("upper-case", "sha256:v1:" + "A" * 64),
    *with_handle("short", HANDLE_SHAPED[:-1]),
    *with_handle("long", HANDLE_SHAPED + "0"),
    *with_handle("other-digits", "sha256:v1:" + "\u0663" * 64),
    *with_handle("bytes", HANDLE_SHAPED.encode()),
    Refused("handle", "history-of-both", lambda s: list(s.history(handle=TOKEN, principal="bob"))),
]
PRINCIPALS = [
    *with_principal("blank", " \t\u3000"),
    creating("principal", "control", principal="bob\x00"),
    creating("principal", "separator", principal="\x1f"),
    creating("principal", "c1-control", principal="b\x9bob"),
    *with_principal("number", 7),
    *with_principal("surrogate", "bob" + SURROGATE),
    creating("principal", "token", principal=TOKEN),
    creating("principal", "long", principal="b" * 513),
    creating("principal", "none", principal=None),
]
TIMES = [
    creating("created_at", "naive", created_at=NAIVE),
    creating("created_at", "text", created_at="2026-05-02T13:00:00Z"),
    creating("expires_at", "naive", expires_at=NAIVE),
    creating("expires_at", "number", expires_at=1777723200),
    creating("expires_at", "past", expires_at=NOON - HOUR),
    creating("expires_at", "now", expires_at=NOON),
    creating("expires_at", "at-creation", created_at=NOON + HOUR, expires_at=NOON + HOUR),
    touching("last_seen_at", "naive", last_seen_at=NAIVE),
    touching("expires_at", "naive", expires_at=NAIVE),
    touching("expires_at", "now", expires_at=NOON),
    touching("expires_at", "seen-later", last_seen_at=NOON + HOUR, expires_at=NOON + HOUR),
    Refused("expired_at", "expire-naive", lambda s: s.expire(TOKEN, expired_at=NAIVE)),
    Refused("expired_at", "unknown-naive", lambda s: s.expire(OTHER, expired_at=NAIVE)),
    Refused("expired_at", "revoke-naive", lambda s: s.revoke(handle=handle(s), expired_at=NAIVE)),
    Refused("now", "get-naive", lambda s: s.get(TOKEN, now=NAIVE)),
    Refused("now", "find-naive", lambda s: s.find(handle=handle(s), now=NAIVE)),
]
SPANS = [
    creating("ttl", "zero", ttl=timedelta(0)),  # with `touch` and `patch` it ends the session
    *(
        refused
        for calling in (creating, touching)
        for refused in (
            calling("ttl", "negative", ttl=-HOUR),
            calling("ttl", "endless", ttl=timedelta.max),
            calling("ttl", "number", ttl=3600),
            calling("ttl", "twice", ttl=HOUR, expires_at=NOON + HOUR),
        )
    ),
]
PAGES = [
    with_page("page_size", "zero", page_size=0),
    with_page("page_size", "negative", page_size=-1),
    with_page("page_size", "long", page_size=1001),
    with_page("cursor", "empty", after=""),
    with_page("cursor", "nonsense", after="nonsense"),
    with_page("cursor", "handle", after=HANDLE_SHAPED),
    with_page("cursor", "other-script", after="\u0663\u0663"),
    with_page("cursor", "surrogate", after=SURROGATE),
    with_page("cursor", "number", after=7),
    with_page("cursor", "bytes", after=b"WzEsIkFBIl0"),
    with_page("cursor", "not-a-place", after=forged("a", "b")),
    with_page("page_size", "text", page_size="10"),
    with_page("page_size", "fraction", page_size=1.5),
    with_page("cursor", "huge", after=forged(2**70, "AAAA"), principal="alice"),
]
UNMENDED = [
    Refused("now", "get-unknown-naive", lambda s: s.get(OTHER, now=NAIVE)),
]


def handle(store: SessionStore) -> str:
    """The handle of the token's session."""
    session = store.get(TOKEN)
    assert session is not None
    return session.handle


def is_refused(store: SessionStore, case: Refused) -> None:
    """The call raises for its field, tells no token and writes nothing."""
    before = store.head()
    with pytest.raises(InvalidSession) as refused:
        case.call(store)
    assert refused.value.field == case.field
    assert TOKEN not in str(refused.value) + repr(refused.value)
    assert store.head() == before


@pytest.mark.parametrize("case", TOKENS + HANDLES + PRINCIPALS + TIMES + SPANS + PAGES, ids=str)
def test_what_cannot_be_taken_is_refused_and_changes_nothing(
    settled: SessionStore, case: Refused
) -> None:
    is_refused(settled, case)


@pytest.mark.parametrize("case", UNMENDED, ids=str)
def test_what_is_not_refused_as_it_should_be(settled: SessionStore, case: Refused) -> None:
    is_refused(settled, case)


def test_a_policy_that_leaves_the_calendar_is_refused(bench: Bench) -> None:
    latest = datetime.max.replace(tzinfo=NOON.tzinfo) - HOUR
    store = bench.open(policy=Policy(idle_timeout=timedelta(days=1)))
    with pytest.raises(InvalidSession) as by_ttl:
        store.create("alice", created_at=latest)
    assert by_ttl.value.field == "ttl"
    assert store.head().id == 0


def test_an_idle_timeout_that_leaves_the_calendar_ends_at_the_deadline(bench: Bench) -> None:
    latest = datetime.max.replace(tzinfo=NOON.tzinfo) - HOUR
    store = bench.open(policy=Policy(idle_timeout=timedelta(days=1)))
    issued = store.create("alice", created_at=latest, ttl=timedelta(minutes=1))
    assert issued.expires_at == issued.deadline == latest + timedelta(minutes=1)


def test_what_is_just_allowed_is_taken(store: SessionStore) -> None:
    assert store.create("b" * 512, token="x" * 512).principal == "b" * 512
    assert store.get(" " + "x" * 512 + "\n") is not None
    assert store.create("carol", token="y" * 32).token == "y" * 32
    assert len(list(store.sessions(page_size=1000))) == 2


@pytest.mark.parametrize("principal", ["bob\x00", "\x1f", TOKEN, "b" * 513])
def test_one_may_ask_about_whom_others_made_sessions_for(
    settled: SessionStore, principal: str
) -> None:
    assert (
        list(settled.sessions(principal=principal))
        == list(settled.history(principal=principal))
        == []
    )
    assert settled.count(principal=principal, state="all") == 0


@pytest.mark.parametrize("kind", [SessionStore, AsyncSessionStore])
@pytest.mark.parametrize("policy", [{"ttl": 1}, {}, Policy, "strict"], ids=repr)
def test_what_is_no_policy_is_refused_at_opening(
    tmp_path: Path, kind: type[SessionStore | AsyncSessionStore], policy: Any
) -> None:
    with pytest.raises(InvalidPolicy, match="must be a Policy, not"):
        kind.open(f"sqlite:///{tmp_path}/a.db", policy=policy)
    with pytest.raises(InvalidPolicy, match="must be a Policy, not"):
        kind(MemoryLog(), policy=policy)
    assert list(tmp_path.iterdir()) == []
