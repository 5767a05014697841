"""Arenas in which calls race: threads that share a store, and processes that share a file.

A call is told as its name and arguments, and answered as plain values, so that it can be made in
another process. All calls of a round begin at the same moment, at the same instant of the clock.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from subprocess import Popen
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from sessionledger import Policy, Session, SessionLedgerError, SessionStore
from sessionledger.testing.clock import Clock
from sessionledger.testing.fixtures import concurrently
from tests.logs.children import running

POLICY = Policy(ttl=timedelta(hours=1), max_sessions_per_principal=3)
EVICTING = Policy(ttl=timedelta(hours=1), max_sessions_per_principal=3, on_limit="evict_oldest")
POLICIES = {"plain": Policy(ttl=timedelta(hours=1)), "denying": POLICY, "evicting": EVICTING}
CHILDREN = 4


class Call(NamedTuple):
    """A method of the store, its arguments, and which policy the store has."""

    name: str
    told: dict[str, Any]
    policy: str = "plain"


class Answer(NamedTuple):
    """What a call answered: an error's code, or a session's own values, or a number."""

    error: str | None = None
    handle: str | None = None
    version: int = 0
    token: str | None = None
    attributes: dict[str, Any] | None = None
    number: int | None = None

    @property
    def found(self) -> bool:
        return self.handle is not None


def call(name: str, *, policy: str = "plain", **told: Any) -> Call:
    return Call(name, told, policy)


def perform(stores: dict[str, SessionStore], made: Call) -> Answer:
    """Make the call, and tell its answer in plain values."""
    told = {key: _read(key, value) for key, value in made.told.items()}
    try:
        answer = getattr(stores[made.policy], made.name)(**told)
    except SessionLedgerError as error:
        return Answer(error=error.code)
    if not isinstance(answer, Session):
        return Answer(number=answer)
    token = getattr(answer, "token", None)
    return Answer(None, answer.handle, answer.version, token, answer.attributes)


class Arena(Protocol):
    """Where calls race, with a store to prepare and to look at the outcome."""

    store: SessionStore
    clock: Clock

    def race(self, *calls: Call) -> list[Answer]: ...


class Threads:
    """Threads of one process that share a log."""

    def __init__(self, url: str, opened: ExitStack) -> None:
        self.clock = Clock()
        self.store = opened.enter_context(
            SessionStore.open(url, policy=POLICIES["plain"], clock=self.clock, durability="normal")
        )
        log = self.store._log
        self._stores = {
            name: SessionStore(log, policy=policy, clock=self.clock)
            for name, policy in POLICIES.items()
        }

    def race(self, *calls: Call) -> list[Answer]:
        return concurrently(*[lambda made=made: perform(self._stores, made) for made in calls])


class Processes:
    """Processes that share a file, one for each call of a round."""

    def __init__(self, url: str, opened: ExitStack) -> None:
        self.clock = Clock()
        self.store = opened.enter_context(
            SessionStore.open(url, policy=POLICIES["plain"], clock=self.clock, durability="normal")
        )
        script = "import sys; from tests.store.racing import serve; serve(sys.argv[1])"
        self._children = [opened.enter_context(running(script, url)) for _ in range(CHILDREN)]

    def race(self, *calls: Call) -> list[Answer]:
        racing = list(zip(self._children, calls, strict=False))
        assert len(racing) == len(calls)
        for child, made in racing:
            _send(child, [self.clock.now.isoformat(), *made])
        return [_receive(child) for child, _ in racing]


def _send(child: Popen[str], line: Sequence[Any]) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(line) + "\n")
    child.stdin.flush()


def _receive(child: Popen[str]) -> Answer:
    assert child.stdout is not None
    return Answer(*json.loads(child.stdout.readline()))


def serve(url: str) -> None:
    """Make the calls that come as lines, each at the instant that it names."""
    clock = Clock()
    with SessionStore.open(url, clock=clock, durability="normal") as opened:
        stores = {
            name: SessionStore(opened._log, policy=policy, clock=clock)
            for name, policy in POLICIES.items()
        }
        for line in sys.stdin:
            now, name, told, policy = json.loads(line)
            clock.now = datetime.fromisoformat(now)
            answer = perform(stores, Call(name, told, policy))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def _read(key: str, value: Any) -> Any:
    """Times are told as text, and a grace in seconds."""
    if key == "grace":
        return timedelta(seconds=value)
    return datetime.fromisoformat(value) if key.endswith("_at") else value


def fresh(name: str = "harn_sess_of_a_race_") -> str:
    """A token, or a principal, that no round had before."""
    return name + uuid4().hex
