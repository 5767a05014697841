"""Whatever is done to a store: the reference's fold of its log gives the sessions it answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import (
    Change,
    DuplicateSession,
    InvalidSession,
    Log,
    LogEvent,
    Policy,
    Session,
    SessionStore,
    Unit,
    open_log,
)
from sessionledger.core.instant import rfc3339
from sessionledger.core.token import digest, handle_of
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.clock import NOON, Clock
from tests.parity.backends import BACKENDS, COLOURS, AnyStore
from tests.reference_fold import Folded, fold

Command: TypeAlias = Callable[[AnyStore, Log], Any]
"""Does something to a store or its log; an answer of a store is still to be settled."""

TOKENS = [f"harn_sess_test_{name}_{'x' * 32}" for name in ("first", "second", "third")]
# Every log and both stores each time; the asynchronous one on every log among the slow tests.
TRIED = [
    pytest.param(
        backend,
        colour,
        marks=[pytest.mark.slow] if colour == "AsyncSessionStore" and persists else [],
    )
    for backend, (_, persists) in BACKENDS.items()
    for colour in COLOURS
]
HANDLES = [handle_of(digest(token)) for token in TOKENS]

zones = st.sampled_from([UTC, *(timezone(timedelta(hours=h)) for h in (-12, 1, 14))])
times = st.builds(
    lambda minutes, zone: (NOON + timedelta(minutes=minutes)).astimezone(zone),
    st.integers(-90, 90),
    zones,
)
leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
attributes = st.dictionaries(st.text(max_size=3), leaves, max_size=2)
maybe_attributes = st.none() | attributes


def called(method: str, *arguments: Any, **named: Any) -> Command:
    return lambda store, _: getattr(store, method)(*arguments, **named)


def appended(kind: str, payload: Any) -> Command:
    def append(_: AnyStore, log: Log) -> None:
        log.append(SESSIONS_TOPIC, [Unit([Change(LogEvent.of(kind, payload))])])

    return append


tokens = st.sampled_from(TOKENS)
own = st.one_of(
    st.builds(
        lambda token, **named: called("create", "alice", token=token, **named),
        tokens,
        created_at=st.none() | times,
        expires_at=st.none() | times,
        attributes=maybe_attributes,
    ),
    st.builds(
        lambda token, **named: called("touch", token, **named),
        tokens,
        last_seen_at=st.none() | times,
        expires_at=st.none() | times,
        attributes=maybe_attributes,
    ),
    st.builds(lambda token, at: called("expire", token, expired_at=at), tokens, st.none() | times),
)

handles = st.sampled_from(HANDLES)
texts = times.map(rfc3339)
foreign = st.one_of(
    st.fixed_dictionaries(
        {
            "token_handle": handles,
            "principal": st.text(),
            "created_at": texts,
            "last_seen_at": texts,
            "expires_at": texts,
        },
        optional={"attributes": attributes, "more": st.integers()},
    ).map(lambda record: appended("session_created", {"record": record})),
    st.fixed_dictionaries(
        {"token_handle": handles, "last_seen_at": texts},
        optional={"expires_at": st.none() | texts, "attributes": maybe_attributes},
    ).map(lambda touch: appended("session_touched", touch)),
    st.fixed_dictionaries({"token_handle": handles, "expired_at": texts}).map(
        lambda end: appended("session_expired", end)
    ),
    st.just(appended("session_forgotten", {"token_handle": HANDLES[0]})),
)


@pytest.mark.parametrize(("backend", "colour"), TRIED)
@given(commands=st.lists(own, max_size=12))
def test_the_folds_agree_on_what_we_write(
    backend: str, colour: str, commands: Sequence[Command]
) -> None:
    agrees(backend, colour, Policy(idle_timeout=timedelta(minutes=40)), commands)


@pytest.mark.parametrize(("backend", "colour"), TRIED)
@given(commands=st.lists(own | foreign, max_size=12))
def test_the_folds_agree_on_what_others_write_too(
    backend: str, colour: str, commands: Sequence[Command]
) -> None:
    agrees(backend, colour, Policy(), commands)


def agrees(backend: str, colour: str, policy: Policy, commands: Sequence[Command]) -> None:
    with TemporaryDirectory() as root:
        log = open_log(BACKENDS[backend].url(Path(root) / "log"), durability="normal")
        try:
            carry_out(log, colour, policy, commands)
            assert sessions_in(log) == as_shown(fold_of(log))
            assert seen_in(log) == fold_of(log).seen
        finally:
            log.close()


def carry_out(log: Log, colour: str, policy: Policy, commands: Sequence[Command]) -> None:
    clock = Clock()
    with COLOURS[colour].settling() as settle:
        store = COLOURS[colour].store(log, policy=policy, clock=clock)
        for command in commands:
            clock.advance(timedelta(minutes=7))
            try:
                answer = command(store, log)
                if answer is not None:
                    settle(answer)
            except (DuplicateSession, InvalidSession):
                pass  # refused, and nothing written: the fold says whether that is so
        settle(store.close())


def fold_of(log: Log) -> Folded:
    events = log.read(SESSIONS_TOPIC, limit=1000)
    return fold((event.kind, json.loads(event.payload)) for event in events)


def sessions_in(log: Log) -> dict[str, str]:
    with SessionStore(log) as store:
        return {session.handle: shown(fields(session)) for session in store.sessions(state="all")}


def fields(session: Session) -> dict[str, Any]:
    names = ("principal", "created_at", "last_seen_at", "expires_at", "attributes")
    return {name: getattr(session, name) for name in names} | {
        "expired": session.ended_at is not None
    }


def as_shown(folded: Folded) -> dict[str, str]:
    return {handle: shown(session) for handle, session in folded.sessions.items()}


def shown(session: dict[str, Any]) -> str:
    """All of a session as text, with the offsets and number types that `==` does not tell."""
    return json.dumps(session, sort_keys=True, default=lambda at: at.isoformat())


def seen_in(log: Log) -> set[str]:
    return {handle_of(row.key) for row in log.rows(SESSIONS_TOPIC)}
