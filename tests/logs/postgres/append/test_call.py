"""The server's function judges units as `units.plan` does, and chains events as `chain` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionledger import Appended, Conflict, LogEvent, StoredEvent, Unit, canonical, open_log
from sessionledger.logs import chain, units
from sessionledger.logs.base import Change, Outcome, Put, Row
from sessionledger.logs.postgres.append.call import AppendCall
from sessionledger.logs.postgres.append.functions import APPEND
from sessionledger.logs.postgres.log import PostgresLog
from sessionledger.logs.units import BatchState
from sessionledger.testing.fixtures import FOLD, add, creation, event, mark, put
from tests.postgres_server import address, execute, schema
from tests.strategies import json_values, texts

KEYS = [bytes([n]) * 4 for n in range(4)]
Rows: TypeAlias = dict[bytes, Row]

names = texts.filter(lambda name: not name.startswith((chain.RESERVED_PREFIX, "sessionledger.")))
times = st.integers(-(2**63), 2**63 - 1)
headers = st.dictionaries(names | st.sampled_from(["harn.a", "harn.z", "harn."]), texts, max_size=3)
# What the server leaves to this process is drawn seldom: it leaves the whole batch then.
expected = st.sampled_from(["nothing"] * 6 + ["newest"] * 14 + ["older"] * 4 + ["future"])
keys = st.sampled_from(KEYS)
kinds = texts.filter(lambda kind: "\0" not in kind and kind not in FOLD.marks)
changes = st.fixed_dictionaries(
    {
        "key": keys,
        "expected": expected,
        "kind": kinds,
        "headers": headers,
        "at": times,
        "owner": texts,
        "alias": st.none() | texts,
        "group": st.none() | texts,
        "expires": times,
        "live": st.sampled_from([True] * 19 + [False]),
        "more": json_values,
    }
)
drawn_units = st.tuples(
    st.lists(changes, min_size=1, max_size=3, unique_by=lambda one: one["key"]),
    st.lists(st.tuples(keys, expected), max_size=2),
    st.booleans(),
)
batches = st.lists(st.lists(drawn_units, min_size=1, max_size=5), min_size=1, max_size=4)


class Model:
    """A topic as `units.plan` leaves it."""

    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.head = chain.EMPTY
        self.rows: Rows = {}
        self.events: list[StoredEvent] = []

    def unit(self, drawn: tuple[list[dict[str, Any]], list[tuple[bytes, str]], bool]) -> Unit:
        told, reads, also_keyless = drawn
        made = [self.change(**one) for one in told]
        if also_keyless:
            made.insert(1, Change(event(n=1)))
        return Unit(made, [(key, self.version(key, which)) for key, which in reads])

    def change(self, key: bytes, **told: Any) -> Change:
        which, kind = told.pop("expected"), told.pop("kind")
        given, at = told.pop("headers"), told.pop("at")
        payload = canonical.encode(told | {"key": key.hex()})
        happened = LogEvent(kind, payload, given, at)
        draft = FOLD.evolve(self.rows.get(key), happened)
        return Change(happened, Put(key, draft, self.version(key, which)))

    def version(self, key: bytes, which: str) -> int:
        row = self.rows.get(key)
        newest = 0 if row is None else row.version
        told = {"nothing": 0, "newest": newest, "older": max(0, newest - 1)}
        return told.get(which, self.head.id + 1)

    def append(self, batch: Sequence[Unit]) -> list[Outcome]:
        plan = units.plan(self.topic, batch, FOLD, BatchState(self.head, dict(self.rows)))
        self.head = plan.head
        self.rows |= plan.rows
        self.events += plan.events
        return plan.outcomes


@pytest.fixture
def log(tmp_path: Path) -> Iterator[PostgresLog]:
    log = open_log(address(tmp_path))
    assert isinstance(log, PostgresLog)
    yield log
    log.close()


numbers = count()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(batches)
def test_the_server_judges_and_chains_as_the_plan_does(
    log: PostgresLog, told: list[list[Any]]
) -> None:
    model = Model(f"random-{next(numbers)}")
    log.fold_with(model.topic, FOLD)
    for drawn in told:
        batch = [model.unit(one) for one in drawn]
        assert AppendCall.of(model.topic, batch, FOLD) is not None
        assert log.append(model.topic, batch) == model.append(batch)
    assert log.read(model.topic) == model.events
    found = [log.row(model.topic, key) for key in KEYS]
    assert found == [model.rows.get(key) for key in KEYS]
    for key in KEYS:
        of_key = [one.id for one in model.events if FOLD.key(one) == key]
        assert [one.id for one in log.read_key(model.topic, key)] == of_key


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many units each append left to this process."""
    sizes: list[int] = []
    plan = units.plan

    def counted(topic: str, batch: Sequence[Unit], *given: Any) -> units.Plan:
        sizes.append(len(batch))
        return plan(topic, batch, *given)

    monkeypatch.setattr(units, "plan", counted)
    return sizes


TOPIC = "one"


def test_units_with_rows_are_left_to_the_server(log: PostgresLog, planned: list[int]) -> None:
    log.fold_with(TOPIC, FOLD)
    log.append(TOPIC, [creation(KEYS[0])])
    row = log.row(TOPIC, KEYS[0])
    change = put(event(KEYS[0], n=2), row, expected=1)
    batch = [Unit([change]), Unit([change]), creation(KEYS[1])]
    outcomes = log.append(TOPIC, batch)
    assert outcomes == [
        Appended((2,)),
        Conflict(key=KEYS[0], current=log.row(TOPIC, KEYS[0])),
        Appended((3,)),
    ]
    assert planned == []


def test_what_the_server_can_t_judge_is_planned_here(log: PostgresLog, planned: list[int]) -> None:
    log.fold_with(TOPIC, FOLD)
    log.append(TOPIC, [creation(KEYS[0], live=False)])
    row = log.row(TOPIC, KEYS[0])
    late = Unit([put(event(KEYS[0], n=2), row, expected=1)])
    assert log.append(TOPIC, [late]) == [Appended((2,))]
    assert planned == [1]
    log.append(TOPIC, [creation(KEYS[1])])
    before = log.row(TOPIC, KEYS[1])
    add(log, [mark()], TOPIC)
    planned.clear()
    late = Unit([put(event(KEYS[1], n=2), before, expected=3)])
    for key, unit in ((KEYS[0], creation(KEYS[0])), (KEYS[1], late)):
        assert log.append(TOPIC, [unit]) == [Conflict(key=key, current=log.row(TOPIC, key))]
    assert planned == [1, 1]


@pytest.mark.parametrize("missing", ["dropped", "not there yet"])
def test_a_ledger_without_the_functions_is_written_in_two_trips(
    tmp_path: Path, planned: list[int], missing: str
) -> None:
    with_them = open_log(address(tmp_path))
    place = schema(tmp_path)
    execute(f"""DO $$ DECLARE one regprocedure; BEGIN
        FOR one IN SELECT oid FROM pg_proc WHERE pronamespace = '{place}'::regnamespace LOOP
            EXECUTE 'DROP FUNCTION ' || one; END LOOP; END $$""")
    log = with_them if missing == "dropped" else open_log(address(tmp_path))
    log.fold_with(TOPIC, FOLD)
    assert log.append(TOPIC, [creation(KEYS[0])]) == [Appended((1,))]
    assert planned == ([1] if missing == "dropped" else [])
    log.close()
    with_them.close()


def test_the_functions_of_a_renamed_schema_are_made_again(
    tmp_path: Path, planned: list[int]
) -> None:
    open_log(address(tmp_path / "before")).close()
    execute(f"ALTER SCHEMA {schema(tmp_path / 'before')} RENAME TO {schema(tmp_path / 'after')}")
    other = open_log(address(tmp_path / "before"))
    log = open_log(address(tmp_path / "after"))
    log.fold_with(TOPIC, FOLD)
    assert log.append(TOPIC, [creation(KEYS[0])]) == [Appended((1,))]
    assert (planned, other.latest(TOPIC), log.latest(TOPIC)) == ([], 0, 1)
    log.close()
    other.close()


def test_a_role_that_may_make_nothing_appends_with_what_is_there(
    tmp_path: Path, planned: list[int]
) -> None:
    place, role = schema(tmp_path), f"least_{schema(tmp_path)[:20]}"
    open_log(address(tmp_path)).close()
    execute(f"CREATE ROLE {role} LOGIN")
    execute(f"GRANT USAGE ON SCHEMA {place} TO {role}")
    execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {place} TO {role}")
    url = address(tmp_path).replace("postgres@", f"{role}@")
    for made, sizes in ((True, []), (False, [1])):
        if not made:
            execute(f"ALTER FUNCTION {place}.{APPEND} RENAME TO another")
        log = open_log(url)
        log.fold_with(TOPIC, FOLD)
        (outcome,) = log.append(TOPIC, [creation(KEYS[made])])
        assert isinstance(outcome, Appended)
        assert planned == sizes
        log.close()
