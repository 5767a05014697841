"""Reports that show the locals of a traceback show no token and no password of ours."""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sessionledger import (
    AsyncSessionStore,
    InvalidSession,
    InvalidURL,
    Log,
    LogUnavailable,
    Policy,
    SessionLedgerError,
    SessionStore,
    diagnose,
    open_log,
)
from sessionledger.testing.clock import Clock
from tests.reported import caught, frames_in, raised_by, shown

Call = Callable[[Any, str], Any]

BY_TOKEN: dict[str, Call] = {
    "create": lambda store, token: store.create("alice", token=token),
    "get": lambda store, token: store.get(token),
    "authenticate": lambda store, token: store.authenticate(token, max_auth_age=timedelta(1)),
    "reauthenticate": lambda store, token: store.reauthenticate(token),
    "touch": lambda store, token: store.touch(token),
    "patch": lambda store, token: store.patch(token, {"a": 1}),
    "rotate": lambda store, token: store.rotate(token),
    "change_credentials": lambda store, token: store.change_credentials(token),
    "log_out_everywhere": lambda store, token: store.log_out_everywhere(token),
    "expire": lambda store, token: store.expire(token),
    "peek": lambda store, token: store.peek(token),
}
# With a token where a handle belongs.
BY_HANDLE: dict[str, Call] = {
    "find": lambda store, token: store.find(handle=token),
    "revoke": lambda store, token: store.revoke(handle=token),
    "history": lambda store, token: list(store.history(handle=token)),
    "as_of": lambda store, token: store.as_of(handle=token, at=datetime.now(UTC)),
    "patch": lambda store, token: store.patch(handle=token, changes={"a": 1}),
    "rotate": lambda store, token: store.rotate(handle=token),
    "change_credentials": lambda store, token: store.change_credentials(handle=token),
    "reauthenticate": lambda store, token: store.reauthenticate(handle=token),
    "touch": lambda store, token: store.touch(handle=token),
    "erase": lambda store, token: store.erase(handle=token),
}
COLOURS = ["sync", "async"]


class Broken:
    """A clock that fails from some call on."""

    def __init__(self) -> None:
        self.clock = Clock(datetime.now(UTC))
        self.left = 1000

    def __call__(self) -> datetime:
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        return self.clock()


def outcome(colour: str, log: Log, clock: Any, call: Callable[[Any], Any], **told: Any) -> Any:
    """What a call answers on a store of that colour."""
    if colour == "sync":
        return call(SessionStore(log, clock=clock, **told))

    async def awaited() -> Any:
        async with AsyncSessionStore(log, clock=clock, **told) as store:
            answer = call(store)
            return await answer if inspect.isawaitable(answer) else answer

    return asyncio.run(awaited())


@pytest.fixture
def log() -> Iterator[Log]:
    log = open_log("memory:")
    yield log
    log.close()


def test_every_call_that_takes_a_token_or_a_handle_is_tried() -> None:
    for kind in (SessionStore, AsyncSessionStore):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            parameters = inspect.signature(method).parameters
            if not name.startswith("_"):
                assert ("token" in parameters) == (name in BY_TOKEN), name
                assert ("handle" in parameters) == (name in BY_HANDLE), name


@pytest.mark.parametrize("name", BY_TOKEN)
@pytest.mark.parametrize("colour", COLOURS)
def test_no_frame_shows_the_token_when_the_ledger_fails(log: Log, colour: str, name: str) -> None:
    token = SessionStore(log).create("alice").token
    log.close()
    error = raised_by(lambda: outcome(colour, log, None, lambda s: BY_TOKEN[name](s, token)))
    assert isinstance(error, SessionLedgerError)
    assert frames_in(error) > 1
    assert shown(error, token) == []


@pytest.mark.parametrize("name", BY_TOKEN)
@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("after", range(3))
def test_no_frame_shows_the_token_when_a_call_is_interrupted(
    log: Log, colour: str, name: str, after: int
) -> None:
    """The clock is asked here and there, and interrupts one of these times."""
    clock = Broken()
    token = SessionStore(log, clock=clock.clock).create("alice").token
    clock.clock.now += timedelta(minutes=20)

    def interrupted(store: Any) -> Any:
        clock.left = after
        return BY_TOKEN[name](store, token)

    error = caught(lambda: outcome(colour, log, clock, interrupted))
    assert error is not None or clock.left >= 0
    assert error is None or shown(error, token) == []


SECRET = "correct horse battery staple, and one more"
BAD: dict[str, tuple[str, Policy]] = {
    "short": (SECRET, Policy(min_token_chars=64)),
    "long": (SECRET, Policy(min_token_chars=1, max_token_chars=8)),
    "handle": (f"sha256:v1:{SECRET}", Policy()),
    "surrogate": (f"{SECRET}\udce9", Policy()),
}
RAISING = BY_TOKEN.keys() - {"authenticate", "peek"}


@pytest.mark.parametrize("bad", BAD)
@pytest.mark.parametrize("name", sorted(RAISING))
@pytest.mark.parametrize("colour", COLOURS)
def test_no_frame_shows_a_token_that_is_refused(log: Log, colour: str, name: str, bad: str) -> None:
    token, policy = BAD[bad]
    call = BY_TOKEN[name]
    error = raised_by(lambda: outcome(colour, log, None, lambda s: call(s, token), policy=policy))
    assert isinstance(error, InvalidSession)
    assert shown(error, SECRET) == []


WITHIN: dict[str, Call] = {
    "attributes": lambda store, token: store.touch(token, attributes={"debug": token}),
    "changes": lambda store, token: store.patch(token, {"debug": [token]}),
    "reason": lambda store, token: store.expire(token, reason=token),
    "actor": lambda store, token: store.rotate(token, actor=token),
    "reason of many": lambda store, token: store.revoke_all("alice", reason=token),
    "reason everywhere": lambda store, token: store.log_out_everywhere(token, reason=token),
    "reason of a change": lambda store, token: store.change_credentials(token, reason=token),
    "context": lambda store, token: store.reauthenticate(token, context={"agent": token}),
    "principal": lambda store, token: store.create(token),
}


@pytest.mark.parametrize("where", WITHIN)
@pytest.mark.parametrize("colour", COLOURS)
def test_no_frame_shows_a_token_that_stood_in_what_was_to_be_stored(
    log: Log, colour: str, where: str
) -> None:
    token = SessionStore(log).create("alice").token
    error = raised_by(lambda: outcome(colour, log, None, lambda s: WITHIN[where](s, token)))
    assert isinstance(error, InvalidSession)
    assert shown(error, token) == []
    assert len(list(SessionStore(log).history(principal="alice"))) == 1, "nothing was stored"


@pytest.mark.parametrize("name", BY_HANDLE)
@pytest.mark.parametrize("colour", COLOURS)
def test_no_frame_shows_a_token_that_was_given_as_a_handle(
    log: Log, colour: str, name: str
) -> None:
    token = SessionStore(log).create("alice").token
    error = raised_by(lambda: outcome(colour, log, None, lambda s: BY_HANDLE[name](s, token)))
    assert isinstance(error, SessionLedgerError)
    assert shown(error, token) == []


@pytest.mark.parametrize("colour", COLOURS)
def test_what_on_error_is_told_shows_no_token(log: Log, colour: str) -> None:
    """A sighting that can't be written: the error does not pass, and may still be reported."""
    clock = Clock(datetime.now(UTC))
    told: list[BaseException] = []
    seen: list[list[str]] = []

    def on_error(error: SessionLedgerError) -> None:
        told.append(error)
        seen.append(shown(error, token))

    token = SessionStore(log, clock=clock).create("alice").token
    clock.now += timedelta(minutes=20)
    full = Full(log)
    session = outcome(
        colour, full, clock, lambda s: s.authenticate(token, context={"a": "b"}), on_error=on_error
    )
    assert session.principal == "alice"
    assert len(told) == 1
    assert seen == [[]]


class Full:
    """A log that can't be written."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def append(self, *_: Any, **__: Any) -> Any:
        raise LogUnavailable("the disk is full")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)


def test_a_report_with_locals_shows_no_token(log: Log) -> None:
    """Python's own report, and the hook that prints it."""
    store = SessionStore(log)
    token = store.create("alice").token
    log.close()
    error = raised_by(lambda: store.touch(token))
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert "touch" in told
    ours = [line for line in told.splitlines() if token in line]
    assert len(ours) <= 1, "the test's own frame alone has it"


ADDRESS = "postgresql://alice:hunter2-hunter2-hunter2-hunter2@[::1/db"
NOBODY = "postgresql://alice:hunter2-hunter2-hunter2-hunter2@127.0.0.1:1/db?connect_timeout=1"


@pytest.mark.parametrize("url", [ADDRESS, NOBODY])
def test_no_frame_shows_the_password_in_an_address(url: str) -> None:
    pytest.importorskip("psycopg")

    async def enter() -> None:
        async with AsyncSessionStore.open(url):
            pass

    calls: list[Callable[[], Any]] = [
        lambda: open_log(url),
        lambda: SessionStore.open(url),
        lambda: diagnose(url),
        lambda: asyncio.run(enter()),
    ]
    for call in calls:
        error = raised_by(call)
        assert isinstance(error, InvalidURL | LogUnavailable)
        assert shown(error, "hunter2-hunter2-hunter2-hunter2") == []


def test_frames_of_others_keep_what_they_hold(log: Log) -> None:
    def failing() -> datetime:
        mine = "kept"
        raise RuntimeError(mine)

    token = SessionStore(log).create("alice").token
    error = raised_by(lambda: SessionStore(log, clock=failing).touch(token))
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    assert trace.tb_frame.f_locals == {"mine": "kept"}
