"""What the stores tell OpenTelemetry, by the real SDK; and that no secret and no name is in it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cache
from inspect import getattr_static
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.metrics.export import NumberDataPoint

from sessionledger import (
    AsyncSessionStore,
    DuplicateSession,
    InvalidSession,
    Log,
    LogUnavailable,
    Policy,
    SessionLedgerError,
    SessionStore,
    Unit,
)
from sessionledger.logs.adapters.immediate import drive
from sessionledger.logs.base import KeyState, Outcome, RemoteLog
from sessionledger.logs.memory import MemoryLog
from sessionledger.store.maintenance import Maintenance
from sessionledger.store.telemetry import detection, opentelemetry
from sessionledger.testing.clock import Clock
from tests.store.conftest import OTHER, TOKEN
from tests.store.exporting import Exporting
from tests.store.facade import KINDS, TRIED, Bench, Kind

MINUTE = timedelta(minutes=1)
LABELS = {
    "db.system.name",
    "db.collection.name",
    "db.operation.name",
    "sessionledger.outcome",
    "sessionledger.event.kind",
    "sessionledger.cause",
    "sessionledger.state",
    "error.type",
}
UNITS = {
    "sessionledger.operation.duration": "s",
    "sessionledger.append.duration": "s",
    "sessionledger.append.units": "{unit}",
    "sessionledger.events": "{event}",
    "sessionledger.clock.difference": "s",
    "sessionledger.conflicts": "{conflict}",
    "sessionledger.reuses": "{reuse}",
    "sessionledger.sessions.swept": "{session}",
    "sessionledger.errors": "{error}",
    "sessionledger.log.events": "{event}",
    "sessionledger.log.size": "By",
    "sessionledger.log.oldest_event.timestamp": "s",
    "sessionledger.sessions": "{session}",
    "sessionledger.consumer.lag": "{event}",
    "sessionledger.cache.rows": "{row}",
    "sessionledger.cache.misses": "{read}",
    "sessionledger.cache.staleness": "s",
    "sessionledger.cache.unconfirmed": "{topic}",
    "sessionledger.compaction.timestamp": "s",
    "sessionledger.maintenance.timestamp": "s",
    "sessionledger.maintenance.failed": "",
}
UNMEASURED = {
    *("open", "on_topic", "close", "policy"),
    *("sessions", "events", "watch", "run_sweeper", "run_maintenance"),
}
"""Openings and ends; settings; iterators, of which a listing tells by the page; what never ends."""


@cache
def exporting() -> Exporting:
    return Exporting()


@pytest.fixture(scope="module", autouse=True)
def heard() -> Iterator[None]:
    """An SDK can't be taken away again, and its locks are not for signal handlers: the stores of
    tests that this process runs later are not measured."""
    yield
    detection._opentelemetry = lambda: None  # type: ignore[assignment]


# For every test here: a store is measured if an SDK was set up before it was opened.
@pytest.fixture(autouse=True)
def told() -> Iterator[Exporting]:
    told = exporting()
    told.begin()
    yield told
    told.begin()


class Refusing:
    """A log that can be read only."""

    def __init__(self, log: Log) -> None:
        self._log = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append(
        self, topic: str, units: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        raise LogUnavailable("full")


class Distant(MemoryLog):
    """A log that counts as remote."""

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        return {key: self.state(topic, key) for key in keys}

    def kept(self, topic: str, key: bytes) -> KeyState | None:
        return None


def duration_of(told: Exporting, operation: str, **labels: str) -> int:
    told_of = {"db_operation_name": operation} | labels
    return told.total("sessionledger.operation.duration", **told_of)


def sweep_once(store: SessionStore, kind: Kind) -> None:
    """One round of the sweeper."""
    event = threading.Event() if kind.colour == "sync" else asyncio.Event()
    event.set()
    store.run_sweeper(stop=cast(threading.Event, event))


@pytest.fixture
def kind(bench: Bench, request: pytest.FixtureRequest) -> Kind:
    return cast(Kind, request.node.callspec.params["bench"])


def test_every_call_is_measured_but_those_that_have_no_end() -> None:
    for store in (SessionStore, AsyncSessionStore):
        public = {name for name in dir(store) if not name.startswith("_")}
        assert {*opentelemetry.HOT, *opentelemetry.TRACED} == public - UNMEASURED


def test_calls_are_told_by_operation_and_outcome(
    store: SessionStore, told: Exporting, kind: Kind
) -> None:
    store.create("alice", token=TOKEN)
    assert store.get(TOKEN)
    assert store.get(OTHER) is None
    with pytest.raises(DuplicateSession):
        store.create("bob", token=TOKEN)
    with pytest.raises(InvalidSession):
        store.get("short")
    told.collect()
    assert duration_of(told, "create", sessionledger_outcome="ok") == 1
    assert duration_of(told, "get", sessionledger_outcome="ok") == 1
    assert duration_of(told, "get", sessionledger_outcome="none") == 1
    assert duration_of(told, "create", error_type="duplicate_session") == 1
    assert duration_of(told, "get", error_type="invalid_session") == 1
    place = {"db_system_name": kind.backend, "db_collection_name": "orchestrator.sessions"}
    assert told.total("sessionledger.operation.duration", **place) == 5


def test_a_call_that_is_refused_once_closed_is_told(store: SessionStore, told: Exporting) -> None:
    store.close()
    with pytest.raises(SessionLedgerError):
        store.get(TOKEN)
    told.collect()
    assert duration_of(told, "get", error_type="store_closed") == 1


def test_appends_are_told_with_their_units_events_and_conflicts(
    store: SessionStore, told: Exporting
) -> None:
    store.create("alice", token=TOKEN)
    store.touch(TOKEN)
    with pytest.raises(DuplicateSession):
        store.create("alice", token=TOKEN)
    store.expire(TOKEN)
    told.collect()
    assert told.total("sessionledger.append.duration", sessionledger_outcome="ok") == 4
    assert told.total("sessionledger.append.units") == 4
    assert told.total("sessionledger.conflicts") == 1
    for event in ("session_created", "session_touched", "session_expired"):
        assert told.total("sessionledger.events", sessionledger_event_kind=event) == 1


def test_the_figures_of_the_ledger_are_told_after_each_round(told: Exporting) -> None:
    log = MemoryLog()
    store = SessionStore(log)
    store.create("alice")
    drive(Maintenance(store._engine, log, None).turn(timedelta(hours=1)))
    told.collect()
    (events,) = told.points("sessionledger.log.events", db_system_name="memory")
    (live,) = told.points("sessionledger.sessions", sessionledger_state="live")
    assert (events.value, live.value) == (1, 1)  # type: ignore[union-attr]
    assert duration_of(told, "maintain", sessionledger_outcome="ok") == 1


def test_what_tasks_append_together_is_one_batch(told: Exporting) -> None:
    async def main() -> None:
        async with AsyncSessionStore.open("memory:") as store:
            await asyncio.gather(*(store.create("alice") for _ in range(20)))

    asyncio.run(main())
    told.collect()
    (batches,) = told.points("sessionledger.append.units")
    assert (batches.count, batches.sum) == (1, 20)  # type: ignore[union-attr]
    assert told.total("sessionledger.events") == duration_of(told, "create") == 20


def test_a_touch_that_failed_is_told_and_turns_nobody_away(
    bench: Bench, clock: Clock, told: Exporting, caplog: pytest.LogCaptureFixture
) -> None:
    log = bench.log()
    bench.on(log).create("alice", token=TOKEN)
    store = bench.on(cast(Log, Refusing(log)))
    clock.advance(10 * MINUTE)
    assert store.authenticate(TOKEN)
    told.collect()
    labels = {"db_operation_name": "authenticate", "error_type": "log_unavailable"}
    assert told.total("sessionledger.errors", **labels) == 1
    assert told.total("sessionledger.append.duration", error_type="log_unavailable") == 1
    assert duration_of(told, "authenticate", sessionledger_outcome="ok") == 1
    assert "log_unavailable" in caplog.text


def test_reuse_is_told(store: SessionStore, clock: Clock, told: Exporting) -> None:
    store.create("alice", token=TOKEN)
    store.rotate(TOKEN)
    clock.advance(2 * MINUTE)
    assert store.authenticate(TOKEN) is None
    told.collect()
    assert told.total("sessionledger.reuses") == 1
    assert told.total("sessionledger.events", sessionledger_cause="reused") == 2


def test_sweeping_is_told_and_what_keeps_it_from_sweeping(
    store: SessionStore, clock: Clock, told: Exporting, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        store.create("alice", ttl=MINUTE)
    clock.advance(10 * MINUTE)
    sweep_once(store, kind)
    clock.advance(-20 * MINUTE)
    sweep_once(store, kind)
    told.collect()
    assert told.total("sessionledger.sessions.swept") == 3
    backend = {"db_system_name": kind.backend}
    (difference,) = told.points("sessionledger.clock.difference", **backend)
    assert isinstance(difference, NumberDataPoint)
    assert difference.value == 20 * 60
    labels = {"db_operation_name": "sweep", "error_type": "clock_jumped"}
    assert told.total("sessionledger.errors", **labels) == 1
    assert "clock_jumped" in caplog.text


def test_a_listing_is_told_by_the_page(store: SessionStore, told: Exporting) -> None:
    for _ in range(3):
        store.create("alice")
    assert len(list(store.sessions(page_size=2))) == 3
    with pytest.raises(InvalidSession):
        list(store.sessions(after="no cursor"))
    told.collect()
    assert duration_of(told, "sessions", sessionledger_outcome="ok") == 2
    assert duration_of(told, "sessions", error_type="invalid_session") == 1


@pytest.mark.parametrize("bench", [k for k in KINDS if k.colour == "sync"], ids=str, indirect=True)
def test_calls_that_write_or_walk_are_spans_below_the_callers(
    store: SessionStore, told: Exporting, kind: Kind
) -> None:
    with trace.get_tracer("application").start_as_current_span("request") as request:
        store.create("alice", token=TOKEN)
        store.get(TOKEN)
        store.authenticate(TOKEN)
        store.verify()
    create, verify, outer = told.spans()
    assert (create.name, verify.name) == ("sessionledger.create", "sessionledger.verify")
    assert create.parent == verify.parent == request.get_span_context() == outer.context
    assert create.attributes == {
        "db.system.name": kind.backend,
        "db.collection.name": "orchestrator.sessions",
        "db.operation.name": "create",
        "sessionledger.outcome": "ok",
    }


def test_spans_of_tasks_are_below_their_own() -> None:
    told = exporting()
    told.begin()

    async def request(store: AsyncSessionStore, name: str) -> None:
        with trace.get_tracer("application").start_as_current_span(name):
            await store.create("alice")

    async def main() -> None:
        async with AsyncSessionStore.open("memory:") as store:
            await asyncio.gather(*(request(store, f"request-{n}") for n in range(5)))

    asyncio.run(main())
    spans = told.spans()
    outer = [span.context for span in spans if span.name != "sessionledger.create"]
    inner = [span.parent for span in spans if span.name == "sessionledger.create"]
    assert len(outer) == len(inner) == 5
    assert {one and one.span_id for one in outer} == {one and one.span_id for one in inner}


def test_a_span_tells_an_error_by_its_code_alone(store: SessionStore, told: Exporting) -> None:
    handle = store.create("alice", token=TOKEN).handle
    with pytest.raises(DuplicateSession) as caught:
        store.create("alice", token=TOKEN)
    _, refused = told.spans()
    assert refused.status.status_code is trace.StatusCode.ERROR
    assert (refused.status.description, refused.events) == (None, ())
    assert dict(refused.attributes or {})["error.type"] == "duplicate_session"
    assert handle in str(caught.value), "or else this would show nothing"


def test_a_cancelled_call_ends_its_span(told: Exporting) -> None:
    async def main() -> None:
        async with AsyncSessionStore.open("memory:") as store:
            task = asyncio.create_task(store.create("alice"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

    asyncio.run(main())
    told.collect()
    (span,) = told.spans()
    assert dict(span.attributes or {})["error.type"] == "CancelledError"
    assert duration_of(told, "create", error_type="CancelledError") == 1


# -- what must never be told

NEEDLE = "needle"
BEARER = f"{NEEDLE}-given-by-the-caller-and-long-enough"
SAID: dict[str, Any] = {"reason": NEEDLE, "actor": NEEDLE, "context": {NEEDLE: NEEDLE}}
Act = Callable[[SessionStore, str, str], object]

ACTS: dict[str, Act] = {
    "create": lambda s, t, h: s.create(f"{NEEDLE}-alice", external_id=NEEDLE, **SAID),
    "create again": lambda s, t, h: s.create(NEEDLE, token=t),
    "create wrongly": lambda s, t, h: s.create(NEEDLE, attributes={NEEDLE: {1}}),
    "get": lambda s, t, h: s.get(t),
    "get nothing": lambda s, t, h: s.get(NEEDLE * 10),
    "get wrongly": lambda s, t, h: s.get(NEEDLE),
    "find": lambda s, t, h: s.find(handle=h),
    "find wrongly": lambda s, t, h: s.find(handle=t),
    "peek": lambda s, t, h: s.peek(t),
    "authenticate": lambda s, t, h: s.authenticate(t, context={NEEDLE: NEEDLE}),
    "ask for more": lambda s, t, h: s.authenticate(t, max_auth_age=timedelta(microseconds=1)),
    "reauthenticate": lambda s, t, h: s.reauthenticate(t, **SAID),
    "touch": lambda s, t, h: s.touch(t, attributes={NEEDLE: NEEDLE}, **SAID),
    "patch": lambda s, t, h: s.patch(t, {NEEDLE: NEEDLE}, **SAID),
    "patch too late": lambda s, t, h: s.patch(handle=h, changes={NEEDLE: 1}, if_version=1),
    "rotate": lambda s, t, h: s.rotate(t, **SAID),
    "change credentials": lambda s, t, h: s.change_credentials(t, **SAID),
    "log out everywhere": lambda s, t, h: s.log_out_everywhere(t, **SAID),
    "expire": lambda s, t, h: s.expire(t, **SAID),
    "revoke": lambda s, t, h: s.revoke(handle=h, **SAID),
    "revoke all": lambda s, t, h: s.revoke_all(NEEDLE, keep=[h], **SAID),
    "revoke by name": lambda s, t, h: s.revoke_all(external_id=NEEDLE, **SAID),
    "list": lambda s, t, h: list(s.sessions(principal=NEEDLE, state="all")),
    "list wrongly": lambda s, t, h: list(s.sessions(after=NEEDLE)),
    "count": lambda s, t, h: s.count(principal=NEEDLE),
    "history": lambda s, t, h: list(s.history(handle=h)),
    "its history": lambda s, t, h: list(s.history(principal=NEEDLE)),
    "as of": lambda s, t, h: s.as_of(handle=h, at=cast(Any, NEEDLE)),
    "sweep": lambda s, t, h: s.sweep(),
    "verify": lambda s, t, h: s.verify(expect=f"{NEEDLE}:1:{NEEDLE}"),
    "rebuild": lambda s, t, h: s.rebuild(),
    "maintain": lambda s, t, h: s.maintain(retention=timedelta(days=2)),
    "stats": lambda s, t, h: (s.stats(), s.head()),
}


@pytest.mark.parametrize("kind", TRIED)
@given(steps=st.lists(st.tuples(st.sampled_from(sorted(ACTS)), st.integers(0, 3)), max_size=12))
def test_no_token_handle_or_name_is_told(
    kind: Kind, steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    told = exporting()
    told.begin()
    bench = Bench(kind, tmp_path_factory.mktemp("told") / f"{NEEDLE}.db", durability="normal")
    policy = Policy(rotation_grace=MINUTE, max_sessions_per_principal=2)
    try:
        store = bench.open(policy=policy)
        issued = store.create(NEEDLE, token=BEARER)
        for name, minutes in steps:
            bench.clock.advance(minutes * MINUTE)
            with suppress(SessionLedgerError):
                ACTS[name](store, issued.token, issued.handle)
    finally:
        bench.close()
    told.collect()
    text = told.text()
    assert "sessionledger.create" in text
    assert not [secret for secret in (NEEDLE, "sha256", "harn_sess") if secret in text]
    for metric in told.metrics.values():
        assert (metric.name, metric.unit) in UNITS.items()
        assert all(set(point.attributes or {}) <= LABELS for point in metric.data.data_points)
    assert all(set(span.attributes or {}) <= LABELS for span in told.spans())


def test_a_remote_log_that_is_measured_is_still_remote() -> None:
    here, distant = MemoryLog(), Distant()
    telemetry = opentelemetry.OpenTelemetry.of(here, "sessions")
    assert not isinstance(telemetry.log(here), RemoteLog)
    measured = telemetry.log(distant)
    # Since Python 3.12 a protocol is looked for without `__getattr__`.
    assert getattr_static(measured, "states", None) is not None
    assert isinstance(measured, RemoteLog)
    assert measured.states("sessions", [b"k"]) == {b"k": None}
    assert measured.kept("sessions", b"k") is None


# -- without it

ABSENT = """
import sys
sys.modules["opentelemetry"] = None  # as if it were not installed
import sessionledger
from sessionledger.store.telemetry.protocol import SILENT

with sessionledger.SessionStore.open(sys.argv[1]) as store:
    assert type(store) is sessionledger.SessionStore
    assert store._engine.telemetry is SILENT and store._engine.log.log is store._log
    assert store.authenticate(store.create("alice").token)
    assert len(list(store.sessions())) == 1
    assert store.sweep() == 0
"""

UNHEARD = """
import sys
import sessionledger
from sessionledger.store.telemetry.protocol import SILENT

with sessionledger.SessionStore.open(sys.argv[1]) as store:
    assert "opentelemetry" not in sys.modules
    import opentelemetry.metrics
with sessionledger.SessionStore.open(sys.argv[1]) as store:
    assert type(store) is sessionledger.SessionStore
    assert store._engine.telemetry is SILENT and store._engine.log.log is store._log
"""

PRESENT = """
import sys
import sessionledger
assert "opentelemetry" not in sys.modules

from opentelemetry import trace
from opentelemetry.sdk.metrics.export import NumberDataPoint
from opentelemetry.sdk.trace import TracerProvider
trace.set_tracer_provider(TracerProvider())

class Mine(sessionledger.SessionStore):
    def get(self, token, *, now=None):
        return super().get(token.removeprefix("mine:"), now=now)

with Mine.open(sys.argv[1]) as store:
    assert type(store) is not Mine and isinstance(store, Mine)
    assert store.get("mine:" + store.create("alice").token)
"""


@pytest.mark.parametrize(
    "program", [ABSENT, UNHEARD, PRESENT], ids=["absent", "unheard", "present"]
)
def test_it_is_looked_for_when_a_store_is_opened(program: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", program, f"sqlite:///{tmp_path}/ledger.db"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
