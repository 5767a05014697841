"""A rule is decided on what was read, and written only if that is still so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from sessionledger import Appended, Conflict, LogEvent, open_log
from sessionledger.logs.base import Log, Row, Rule, Unit, Verdict
from sessionledger.logs.postgres.log import PostgresLog
from sessionledger.testing.conformance.rules import ALICES, end, end_all, live_keys
from sessionledger.testing.fixtures import (
    FOLD,
    TOPIC,
    add,
    concurrently,
    creation,
    event,
    every_event,
    mark,
    put,
    rows_of,
)
from tests.logs.bare_postgres import append as append_bare
from tests.postgres_server import address

KEYS = [bytes([n]) * 4 for n in range(6)]
"""The first two are Alice's, the next two Bob's."""
Meanwhile = Callable[[Path, Log], object]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = opened(tmp_path)
    for key, owner in zip(KEYS, ("alice", "alice", "bob", "bob"), strict=False):
        add(log, [event(key, owner, group="g")])
    yield log
    log.close()


def opened(place: Path) -> Log:
    log = open_log(address(place))
    log.fold_with(TOPIC, FOLD)
    return log


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The topic of each append that was planned under the topic's lock."""
    topics: list[str] = []
    transact = PostgresLog._transact

    def noted(self: PostgresLog, work: Callable[..., object], until: float) -> object:
        topics.append(TOPIC)
        return transact(self, work, until)

    monkeypatch.setattr(PostgresLog, "_transact", noted)
    return topics


def appending(happened: LogEvent) -> Meanwhile:
    return lambda _, other: add(other, [happened])


MOVED: dict[str, Meanwhile] = {
    "one more row": appending(event(KEYS[4], "alice")),
    "a row ends that is to end": appending(event(KEYS[0], live=False)),
    "a row changes that is to stay": appending(event(KEYS[1], n=1)),
    "a row ends that is to stay": appending(event(KEYS[1], live=False)),
    "a row comes from elsewhere": appending(event(KEYS[3], "alice", moves=True)),
    "a row goes elsewhere": appending(event(KEYS[0], "bob", moves=True)),
    "one more relative": appending(event(KEYS[4], "bob", group="g")),
    "a relative changes": appending(event(KEYS[3], n=1)),
    "a relative goes elsewhere": appending(event(KEYS[2], group="h")),
    "a mark": appending(mark()),
    "an event without a row": lambda place, _: append_bare(place, TOPIC, [event(KEYS[4], "alice")]),
}
UNMOVED: dict[str, Meanwhile] = {
    "nothing": lambda *_: None,
    "somebody else's row": lambda _, other: other.append(TOPIC, [creation(KEYS[4], "carol")]),
    "an event of no key": appending(event()),
    "a rebuild": lambda _, other: other.rebuild(TOPIC),
}


@pytest.mark.parametrize("what", [*MOVED, *UNMOVED])
def test_a_rule_is_decided_on_what_is_there_when_it_is_written(
    log: Log, tmp_path: Path, locked: list[str], what: str
) -> None:
    other = opened(tmp_path)
    given: list[Sequence[Row]] = []
    locked.clear()

    def decide(rows: Sequence[Row]) -> Verdict:
        if not given:
            (MOVED | UNMOVED)[what](tmp_path, other)
            locked.clear()
        given[:] = [rows]
        return end_all([row for row in rows if row.key != KEYS[1]])

    def follow(_: Verdict, rows: Sequence[Row]) -> Verdict:
        given.append(rows)
        return end_all([row for row in rows if row.key == KEYS[2]])

    unit = Unit(
        [put(event(KEYS[5], "dave"), None, expected=0)], rule=Rule(ALICES, decide, follow=follow)
    )
    (outcome,) = log.append(TOPIC, [unit])
    assert isinstance(outcome, Appended)
    assert bool(locked) == (what in MOVED)
    events = every_event(log)
    before = rows_of(events[: outcome.ids[0] - 1]).values() if what != "a mark" else ()
    rows, relatives = given
    live = sorted((row for row in before if row.live), key=lambda row: row.created)
    assert list(rows) == [row for row in live if row.owner == "alice"]
    groups = {row.group for row in rows} - {None}
    assert list(relatives) == [row for row in live if row.group in groups]
    assert outcome.ids == tuple(one.id for one in events[-len(outcome.ids) :])
    assert [FOLD.key(one) for one in events[-len(outcome.ids) : -1]] == [
        row.key for row, _ in outcome.ruled
    ]
    stored = [log.row(TOPIC, key) for key in KEYS]
    assert what == "a mark" or stored == [rows_of(events).get(key) for key in KEYS]
    other.close()


def test_what_a_rule_finds_in_pages_is_written_by_calls(log: Log, locked: list[str]) -> None:
    ended: list[bytes] = []
    rule = Rule(ALICES, end_all, limit=1)
    for _ in range(3):
        (outcome,) = log.append(TOPIC, [Unit(rule=rule)])
        assert isinstance(outcome, Appended)
        ended += [row.key for row, _ in outcome.ruled]
        rule = Rule(ALICES, end_all, outcome.last or rule.after, 1)
    assert (ended, locked) == (KEYS[:2], [])


def test_a_conflict_and_a_refusal_are_told_as_under_the_lock(log: Log, locked: list[str]) -> None:
    late = Unit(creation(KEYS[0]).changes, rule=Rule(ALICES, end_all))
    assert log.append(TOPIC, [late]) == [Conflict(key=KEYS[0], current=log.row(TOPIC, KEYS[0]))]
    assert log.append(TOPIC, [Unit(rule=Rule(ALICES, lambda _: None))]) == [Conflict()]
    assert len(locked) == 2
    assert live_keys(log) == KEYS[:2]


def test_a_key_that_an_event_of_the_unit_concerns_too_is_planned(
    log: Log, locked: list[str]
) -> None:
    rule = Rule(ALICES, lambda rows: [(row, end(row)) for row in [*rows, rows[0]]])
    (outcome,) = log.append(TOPIC, [Unit(rule=rule)])
    assert isinstance(outcome, Appended)
    assert (len(outcome.ids), len(locked)) == (3, 1)
    assert live_keys(log) == []


def test_no_end_is_missed_however_processes_race(log: Log, tmp_path: Path) -> None:
    logs = [opened(tmp_path) for _ in range(6)]
    outcomes: list[Appended] = []

    def create(number: int) -> None:
        for n in range(30):
            logs[number].append(TOPIC, [creation(bytes([number, n]) * 2)])

    def end_them(number: int) -> None:
        for _ in range(20):
            (outcome,) = logs[number].append(TOPIC, [Unit(rule=Rule(ALICES, end_all))])
            assert isinstance(outcome, Appended)
            outcomes.append(outcome)

    concurrently(*(partial(create, n) for n in range(4)), *(partial(end_them, n) for n in (4, 5)))
    (last,) = log.append(TOPIC, [Unit(rule=Rule(ALICES, end_all))])
    assert isinstance(last, Appended)
    events = every_event(log)
    for one in [*outcomes, last]:
        if one.ids:
            before = rows_of(events[: one.ids[0] - 1]).values()
            live = {row.key for row in before if row.live and row.owner == "alice"}
            assert {row.key for row, _ in one.ruled} == live
    assert live_keys(log) == []
    for other in logs:
        other.close()
