"""What tests of logs use: a fold whose rows tell every event, and a ledger with logs open on it."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

from msgspec.structs import astuple

from sessionledger import canonical
from sessionledger.logs.adapters.committing_thread import LoopLog
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.adapters.threads import for_loops
from sessionledger.logs.base import (
    OVER,
    Appended,
    Change,
    Draft,
    Log,
    LogEvent,
    Put,
    Row,
    RowFilter,
    Rule,
    StoredEvent,
    Unit,
    Verdict,
)
from sessionledger.testing.harness import Harness
from sessionledger.testing.other_process import Child

T = TypeVar("T")

TOPIC = "tallies"
MARKED, LIFTED = "marked", "lifted"
TIED = "tied"
PATIENCE = 60.0
"""Seconds after which something that never happens counts as never happening."""


class TallyFold:
    """A row that knows the order of everything that happened to its key."""

    marks = frozenset((MARKED, LIFTED))

    def mark(self, event: StoredEvent, before: int) -> int:
        """The mark that is in force after an event of these kinds."""
        if event.kind == MARKED:
            return event.id
        return 0 if canonical.decode(event.payload)["mark"] == before else before

    def key(self, event: LogEvent | StoredEvent) -> bytes | None:
        """The key that the payload names, if it does."""
        key = canonical.decode(event.payload).get("key")
        return None if key is None else bytes.fromhex(key)

    def begins(self, damaged: StoredEvent) -> bool:
        """Whether it shows a new key."""
        return b'"new":true' in damaged.payload

    def evolve(self, row: Row | None, event: LogEvent | StoredEvent) -> Draft:
        """A digest of all that happened to the key, in its order."""
        if row is not None and event.kind in (MARKED, ""):
            told: Any = {"expires": row.expires, "live": False}
        else:
            told = canonical.decode(event.payload)
        before = b"" if row is None else row.state
        owner = told["owner"] if row is None or told.get("moves") else row.owner
        state = sha256(before + event.payload).digest()
        alias = told.get("alias", None if row is None else row.alias)
        group = told.get("group", None if row is None else row.group)
        replaced = told.get("replaced", row is not None and row.replaced)
        return Draft(owner, told["expires"], told["live"], state, alias, group, replaced)

    def aftermath(self, row: Row) -> Rule | None:
        """In a tied group, the end of one key is the end of all."""
        if row.live or row.group is None or not row.group.startswith(TIED):
            return None

        def decide(rows: Sequence[Row]) -> Verdict:
            return [(one, event(one.key, one.owner, live=False)) for one in rows]

        return Rule(RowFilter(group=row.group, live_at=OVER), decide)


FOLD = TallyFold()


def mark() -> LogEvent:
    """An event that ends every key begun before it."""
    return LogEvent.of(MARKED, {}, occurred_at_ms=1)


def lift(id: int) -> LogEvent:
    """An event that lifts the mark with that id."""
    return LogEvent.of(LIFTED, {"mark": id}, occurred_at_ms=1)


def event(
    key: bytes | None = None,
    owner: str = "alice",
    *,
    expires: int = 1000,
    live: bool = True,
    **told: Any,
) -> LogEvent:
    """An event that concerns a key, or none."""
    payload = {"owner": owner, "expires": expires, "live": live} | told
    if key is not None:
        payload["key"] = key.hex()
    return LogEvent.of("tallied", payload, occurred_at_ms=1)


def put(
    happened: LogEvent, row: Row | None, *, expected: int | None, fold: TallyFold = FOLD
) -> Change:
    """The event with the row that it makes of `row`."""
    key = fold.key(happened)
    assert key is not None
    return Change(happened, Put(key, fold.evolve(row, happened), expected))


def creation(key: bytes, owner: str = "alice", **told: Any) -> Unit:
    """A unit that gives the owner a key that must be new."""
    return Unit([put(event(key, owner, **told), None, expected=0)])


def add(log: Log, happened: Iterable[LogEvent], topic: str = TOPIC) -> tuple[int, ...]:
    """Append events, each a unit of its own; their ids."""
    ids: tuple[int, ...] = ()
    for outcome in log.append(topic, [Unit([Change(one)]) for one in happened]):
        assert isinstance(outcome, Appended)
        ids += outcome.ids
    return ids


def every_event(log: Log, topic: str = TOPIC) -> list[StoredEvent]:
    """The whole topic."""
    return log.read(topic, limit=1_000_000)


def rows_of(events: Iterable[StoredEvent]) -> dict[bytes, Row]:
    """The rows that the events fold to, reckoned without any log."""
    rows: dict[bytes, Row] = {}
    for happened in events:
        key = FOLD.key(happened)
        if key is None:
            continue
        before = rows.get(key)
        draft = FOLD.evolve(before, happened)
        created = happened.id if before is None else before.created
        rows[key] = Row(key, happened.id, created, *astuple(draft))
    return rows


@dataclass
class Ledger:
    """A ledger under test: its path, and the logs that are open on it."""

    harness: Harness
    path: Path
    opened: list[Log] = field(default_factory=list)
    loop_logs: list[LoopLog] = field(default_factory=list)
    children: list[Child] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.log = self.open()

    def open(self, *, fold: bool = True) -> Log:
        """Another log on the same path, with or without the topic's fold."""
        log = self.harness.open(self.path)
        self.opened.append(log)
        if fold:
            log.fold_with(TOPIC, FOLD)
        return log

    def for_loops(self) -> ImmediateLog:
        """The log in its asynchronous colour."""
        self.loop_logs.append(for_loops(self.log))
        return self.loop_logs[-1]

    def reopen(self) -> Log:
        """Close the log and open it again."""
        self.log.close()
        self.log = self.open()
        return self.log

    def append_bare(self, *happened: LogEvent) -> None:
        """Append as a foreign writer does: beside the open log, where a log can be shared."""
        assert self.harness.append_bare is not None
        if not self.harness.shared:
            self.log.close()
        self.harness.append_bare(self.path, TOPIC, happened)
        if not self.harness.shared:
            self.log = self.open()

    def empty(self) -> Log:
        """Remove every event of the topic, and open the log again."""
        assert self.harness.empty is not None
        self.log.close()
        self.harness.empty(self.path, TOPIC)
        self.log = self.open()
        return self.log

    def child(self) -> Child:
        """Another process, with a log of its own on the same path."""
        self.children.append(Child(partial(_open, self.harness, self.path)))
        return self.children[-1]

    def close(self) -> None:
        """Close all that was opened."""
        for child in self.children:
            child.end()
        for loop_log in self.loop_logs:
            asyncio.run(loop_log.detach())
        for log in self.opened:
            log.close()


def _open(harness: Harness, path: Path) -> Log:
    log = harness.open(path)
    log.fold_with(TOPIC, FOLD)
    return log


@contextmanager
def frequent_switches() -> Iterator[None]:
    """Let threads take turns so often that one is interrupted wherever it can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


def until(holds: Callable[[], bool]) -> None:
    """Look again and again for what another thread or process is about to do."""
    last, pause, never = time.monotonic() + PATIENCE, 0.001, threading.Event()
    while not holds():
        assert time.monotonic() < last, "it never came about"
        never.wait(pause)
        pause = min(pause * 2, 0.02)


def concurrently(*jobs: Callable[[], T]) -> list[T]:
    """What the jobs answer, each run in a thread of its own, begun at the same moment."""
    start = threading.Barrier(len(jobs))
    answers: dict[int, T] = {}
    errors: list[BaseException] = []

    def run(number: int, job: Callable[[], T]) -> None:
        start.wait(PATIENCE)
        try:
            answers[number] = job()
        except BaseException as error:  # noqa: BLE001  it is raised where somebody waits
            errors.append(error)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(jobs)]
    with frequent_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread never ended"
    if errors:
        raise errors[0]
    return [answers[number] for number in range(len(jobs))]
