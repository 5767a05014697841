"""Arenas in which calls race: threads that share a store, and processes that share a file.

A call is told as its name and arguments, and answered as plain values, so that it can be made in
another process. Each thread or process of a round makes one call after another. All begin at the
same moment, at the same instant of the clock unless an arena's clocks differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import Popen
from time import monotonic_ns
from typing import Any, NamedTuple, Protocol
from uuid import uuid4

from msgspec.structs import replace

from sessionledger import (
    Compacted,
    HistoryEntry,
    Policy,
    Session,
    SessionLedgerError,
    SessionStore,
)
from sessionledger.testing.clock import Clock
from sessionledger.testing.fixtures import concurrently
from tests.logs.children import running
from tests.store.facade import URLS

POLICY = Policy(ttl=timedelta(hours=1), max_sessions_per_principal=3, max_children=3)
EVICTING = replace(POLICY, on_limit="evict_oldest")
POLICIES = {"plain": Policy(ttl=timedelta(hours=1)), "denying": POLICY, "evicting": EVICTING}
CHILDREN = 4
LAST = "the token that this thread or process was given last"


class Call(NamedTuple):
    """A method of the store, its arguments, and which policy the store has."""

    name: str
    told: dict[str, Any]
    policy: str = "plain"


class Answer(NamedTuple):
    """What a call answered: an error's code, or a session's own values, or a number.

    began, done: by a clock that all processes of this machine share, in nanoseconds.
    """

    error: str | None = None
    handle: str | None = None
    version: int = 0
    token: str | None = None
    attributes: dict[str, Any] | None = None
    number: int | None = None
    began: int = 0
    done: int = 0

    @property
    def found(self) -> bool:
        return self.handle is not None


def call(name: str, *, policy: str = "plain", **told: Any) -> Call:
    return Call(name, told, policy)


def perform(stores: dict[str, SessionStore], made: Call) -> Answer:
    """Make the call, and tell its answer in plain values."""
    told = {key: _read(key, value) for key, value in made.told.items()}
    began = monotonic_ns()
    try:
        answer = getattr(stores[made.policy], made.name)(**told)
    except SessionLedgerError as error:
        return Answer(error=error.code, began=began, done=monotonic_ns())
    done = monotonic_ns()
    if not isinstance(answer, Session):
        number = answer
        if isinstance(answer, HistoryEntry):
            number = answer.event_id
        elif isinstance(answer, Compacted):
            number = answer.events
        return Answer(number=number, began=began, done=done)
    token = getattr(answer, "token", None)
    session = (answer.handle, answer.version, token, answer.attributes)
    return Answer(None, *session, None, began, done)


def perform_all(stores: dict[str, SessionStore], calls: Iterable[Call]) -> list[Answer]:
    """Make one call after another. `LAST` stands for the token that was issued before."""
    answers: list[Answer] = []
    last: str | None = None
    for name, told, policy in calls:
        named = {key: last if value == LAST else value for key, value in told.items()}
        if LAST in told.values() and last is None:
            answers.append(Answer(error="nothing_issued"))
        else:
            answers.append(perform(stores, Call(name, named, policy)))
            last = answers[-1].token or last
    return answers


class Arena(Protocol):
    """Where calls race, with a store to prepare and to look at the outcome."""

    store: SessionStore
    clock: Clock

    def race(self, *calls: Call) -> list[Answer]: ...

    def race_all(self, *scripts: Sequence[Call]) -> list[list[Answer]]: ...


def opened_arena(name: str, place: Path, opened: ExitStack) -> Arena:
    """The arena of a name such as `processes-sqlite`."""
    who, backend = name.split("-")
    url = URLS[backend](place)
    return Threads(url, opened) if who == "threads" else Processes(url, opened)


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
        return [answer for (answer,) in self.race_all(*([made] for made in calls))]

    def race_all(self, *scripts: Sequence[Call]) -> list[list[Answer]]:
        return concurrently(
            *[lambda made=made: perform_all(self._stores, made) for made in scripts]
        )


class Processes:
    """Processes that share a ledger, one for each script of a round.

    skews: how far each one's clock is ahead.
    """

    skews: Sequence[timedelta] = (timedelta(0),) * CHILDREN

    def __init__(self, url: str, opened: ExitStack) -> None:
        self.clock = Clock()
        self.store = opened.enter_context(
            SessionStore.open(url, policy=POLICIES["plain"], clock=self.clock, durability="normal")
        )
        script = "import sys; from tests.store.racing import serve; serve(sys.argv[1])"
        self._children = [opened.enter_context(running(script, url)) for _ in range(CHILDREN)]

    def race(self, *calls: Call) -> list[Answer]:
        return [answer for (answer,) in self.race_all(*([made] for made in calls))]

    def race_all(self, *scripts: Sequence[Call]) -> list[list[Answer]]:
        racing = list(zip(self._children, self.skews, scripts, strict=False))
        assert len(racing) == len(scripts)
        for child, skew, script in racing:
            _send(child, [(self.clock.now + skew).isoformat(), *script])
        return [_receive(child) for child, _, _ in racing]


def _send(child: Popen[str], line: Sequence[Any]) -> None:
    assert child.stdin is not None
    child.stdin.write(json.dumps(line) + "\n")
    child.stdin.flush()


def _receive(child: Popen[str]) -> list[Answer]:
    assert child.stdout is not None
    return [Answer(*answer) for answer in json.loads(child.stdout.readline())]


def serve(url: str) -> None:
    """Make the calls that come as lines, each at the instant that it names."""
    clock = Clock()
    with SessionStore.open(url, clock=clock, durability="normal") as opened:
        stores = {
            name: SessionStore(opened._log, policy=policy, clock=clock)
            for name, policy in POLICIES.items()
        }
        for line in sys.stdin:
            now, *calls = json.loads(line)
            clock.now = datetime.fromisoformat(now)
            answers = perform_all(stores, [Call(*made) for made in calls])
            sys.stdout.write(json.dumps(answers) + "\n")
            sys.stdout.flush()


def _read(key: str, value: Any) -> Any:
    """Times are told as text, and spans in seconds."""
    if key in ("grace", "retention"):
        return timedelta(seconds=value)
    return datetime.fromisoformat(value) if key.endswith("_at") else value


def fresh(name: str = "harn_sess_of_a_race_") -> str:
    """A token, or a principal, that no round had before."""
    return name + uuid4().hex
