"""Jobs of other processes in the suite. They are functions of a module, so a name finds them."""

from __future__ import annotations

from collections.abc import Sequence

from sessionledger.logs.base import (
    OVER,
    Appended,
    Change,
    Log,
    LogEvent,
    Row,
    RowFilter,
    Rule,
    Unit,
    Verdict,
)
from sessionledger.testing.fixtures import TOPIC, add, creation, event
from sessionledger.testing.other_process import Stopped


def ready(log: Log, is_stopped: Stopped) -> bool:
    """Nothing, once the log is open."""
    return True


def append(log: Log, is_stopped: Stopped, *happened: LogEvent) -> tuple[int, ...]:
    """Append events, each a unit of its own; their ids."""
    return add(log, happened)


def append_many(log: Log, is_stopped: Stopped, writer: int, count: int) -> tuple[int, ...]:
    """Append so many numbered events of a writer, one after the other; their ids."""
    return tuple(id for n in range(count) for id in add(log, [event(w=writer, n=n)]))


def append_until_stopped(log: Log, is_stopped: Stopped, writer: int) -> int:
    """Append events of a writer, one after the other; how many."""
    count = 0
    while not is_stopped():
        add(log, [event(w=writer)])
        count += 1
    return count


def append_whole_until_stopped(log: Log, is_stopped: Stopped, keys: list[bytes]) -> int:
    """Append units that concern every one of the keys; how many."""
    count = 0
    while not is_stopped():
        log.append(TOPIC, [Unit([Change(event(key, n=count)) for key in keys])])
        count += 1
    return count


def create_each(log: Log, is_stopped: Stopped, keys: list[bytes]) -> list[bool]:
    """Create every one of the keys; which of them it was that created."""
    return [isinstance(log.append(TOPIC, [creation(key)])[0], Appended) for key in keys]


def create_within(log: Log, is_stopped: Stopped, keys: list[bytes], owner: str, limit: int) -> int:
    """Give an owner keys as long as it has fewer than the limit; how many were given."""

    def room(rows: Sequence[Row]) -> Verdict | None:
        return () if len(rows) < limit else None

    rule = Rule(RowFilter(owner=owner, live_at=OVER), room)
    units = [Unit(creation(key, owner).changes, rule=rule) for key in keys]
    outcomes = [log.append(TOPIC, [unit])[0] for unit in units]
    return sum(isinstance(outcome, Appended) for outcome in outcomes)
