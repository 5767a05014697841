"""A store measured with OpenTelemetry: metrics of every call and append, spans of the slow ones.

Labels have few values, none of them given by a caller. They are the operation, its outcome, the
code of an error, the kind of an event, the backend and the topic. Messages of errors name handles,
so spans hold their codes only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cache, wraps
from importlib.metadata import PackageNotFoundError, version
from inspect import iscoroutinefunction
from time import perf_counter
from typing import Any, Final, TypeVar, cast

from opentelemetry import metrics, trace

from sessionledger.core.codec import decode_event
from sessionledger.core.events import EXPIRED, Expired
from sessionledger.errors import SessionLedgerError
from sessionledger.logs.base import Conflict, KeyState, Log, LogEvent, Outcome, RemoteLog, Unit
from sessionledger.store.audit.reports import Stats
from sessionledger.store.telemetry.protocol import Call, Telemetry

T = TypeVar("T")

SCOPE = "sessionledger"

# Where the API keeps what stands in for an SDK that is not there.
_API = ("opentelemetry.metrics", "opentelemetry.trace")

# A request waits for these, and a span costs more than the look-up itself.
HOT = ("get", "find", "peek", "authenticate")
# These write, or walk; so does each page of a listing, which has a call of its own.
TRACED = (
    "create", "touch", "patch", "rotate", "reauthenticate", "expire", "revoke", "revoke_all",
    "revoke_everybody", "revoke_where", "change_credentials", "log_out_everywhere",
    "sweep", "count", "counts", "history", "activity", "as_of", "head", "verify", "rebuild",
    "compact", "maintain", "backup", "erase", "erasures", "find_or_create", "diagnose", "stats",
)  # fmt: skip

_SECONDS: Final = [
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005,
    0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
]  # fmt: skip
_SIZES: Final = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]


class Instruments:
    """The instruments, which all stores of a process share."""

    def __init__(self) -> None:
        meter = metrics.get_meter(SCOPE, _version())
        self.tracer = trace.get_tracer(SCOPE, _version())
        self.operations = meter.create_histogram(
            "sessionledger.operation.duration",
            unit="s",
            description="Duration of the calls of a store, by operation and outcome.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.appends = meter.create_histogram(
            "sessionledger.append.duration",
            unit="s",
            description="Duration of the appends to the log, each one batch.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        self.units = meter.create_histogram(
            "sessionledger.append.units",
            unit="{unit}",
            description="Units of changes that were appended in one batch.",
            explicit_bucket_boundaries_advisory=_SIZES,
        )
        self.events = meter.create_counter(
            "sessionledger.events",
            unit="{event}",
            description="Events appended, by kind and, of ends, by cause.",
        )
        self.conflicts = meter.create_counter(
            "sessionledger.conflicts",
            unit="{conflict}",
            description="Units refused because others had been faster, and decided on again.",
        )
        self.reuses = meter.create_counter(
            "sessionledger.reuses",
            unit="{reuse}",
            description="Rotated tokens presented after their grace.",
        )
        self.swept = meter.create_counter(
            "sessionledger.sessions.swept",
            unit="{session}",
            description="Lapsed sessions whose end was recorded.",
        )
        self.clock_difference = meter.create_gauge(
            "sessionledger.clock.difference",
            unit="s",
            description="How far the newest event's clock is ahead of this one, at each sweep.",
        )
        self.errors = meter.create_counter(
            "sessionledger.errors",
            unit="{error}",
            description="Errors that kept no call from being answered, by operation and code.",
        )
        self.gauge = cache(meter.create_gauge)


class OpenTelemetry(Telemetry):
    """Tells OpenTelemetry what happens in one store."""

    def __init__(self, backend: str, topic: str) -> None:
        self.place = {"db.system.name": backend, "db.collection.name": topic}
        self.instruments = _instruments()

    @staticmethod
    def is_heard() -> bool:
        """Whether anybody listens: an SDK was set up, and is not disabled.

        Telling nobody costs several microseconds a call all the same.
        """
        told = (metrics.get_meter(SCOPE, _version()), trace.get_tracer(SCOPE, _version()))
        return any(not type(one).__module__.startswith(_API) for one in told)

    @classmethod
    def of(cls, log: Log, topic: str) -> OpenTelemetry:
        """For a store on this topic of the log."""
        return cls(_backend(log), topic)

    def observe(self, store: Any) -> None:
        store._telemetry = self  # noqa: SLF001  where the calls of its new class find it
        kind: Any = type(store)
        store.__class__ = _measured(kind)

    def log(self, log: Log) -> Log:
        if isinstance(log, RemoteLog):
            return cast(Log, _MeasuredRemoteLog(log, self))
        return cast(Log, _MeasuredLog(log, self))

    def call(self, operation: str) -> Call:
        labels = self.place | {"db.operation.name": operation}
        if operation in HOT:
            return _Measured(self.instruments.operations, labels)
        return _Traced(self.instruments, operation, labels)

    def append(self) -> Call:
        """An append begins."""
        return _Measured(self.instruments.appends, dict(self.place))

    def appended(self, units: Sequence[Unit], outcomes: Sequence[Outcome]) -> None:
        """What became of a batch of units."""
        self.instruments.units.record(len(units), self.place)
        events: Counter[tuple[str, str | None]] = Counter()
        conflicts = 0
        for unit, outcome in zip(units, outcomes, strict=True):
            if isinstance(outcome, Conflict):
                conflicts += 1
            else:
                written = [event for _, event in outcome.ruled]
                written += [change.event for change in unit.changes]
                events.update((event.kind, _cause_of(event)) for event in written)
        for (kind, cause), number in events.items():
            labels = {"sessionledger.event.kind": kind}
            if cause is not None:
                labels["sessionledger.cause"] = cause
            self.instruments.events.add(number, self.place | labels)
        if conflicts:
            self.instruments.conflicts.add(conflicts, self.place)

    def reused(self) -> None:
        self.instruments.reuses.add(1, self.place)

    def swept(self, sessions: int) -> None:
        self.instruments.swept.add(sessions, self.place)

    def compared(self, difference: timedelta) -> None:
        self.instruments.clock_difference.set(difference.total_seconds(), self.place)

    def counted(self, stats: Stats) -> None:
        for name, unit, state, value in stats.figures():
            labels = {"sessionledger.state": state} if state else {}
            self.instruments.gauge(f"{SCOPE}.{name}", unit).set(value, self.place | labels)

    def failed(self, during: str, error: SessionLedgerError) -> None:
        told = {"db.operation.name": during, "error.type": error.code}
        self.instruments.errors.add(1, self.place | told)


class _Measured(Call):
    """One call whose duration and outcome are recorded."""

    __slots__ = ("_begun", "_durations", "labels")

    def __init__(self, durations: metrics.Histogram, labels: dict[str, str]) -> None:
        self._durations = durations
        self.labels = labels

    def __enter__(self) -> Call:
        self._begun = perf_counter()
        return self

    def answer(self, answer: T) -> T:
        self.labels["sessionledger.outcome"] = "none" if answer is None else "ok"
        return answer

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self.labels["sessionledger.outcome"] = "error"
            self.labels["error.type"] = _type_of(error)
        self._durations.record(perf_counter() - self._begun, self.labels)


class _Traced(_Measured):
    """One call that is a span too."""

    __slots__ = ("_scope", "_span")

    def __init__(self, instruments: Instruments, operation: str, labels: dict[str, str]) -> None:
        super().__init__(instruments.operations, labels)
        self._scope = instruments.tracer.start_as_current_span(
            f"{SCOPE}.{operation}",
            attributes=labels,
            record_exception=False,
            set_status_on_exception=False,
        )

    def __enter__(self) -> Call:
        self._span = self._scope.__enter__()
        return super().__enter__()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        super().__exit__(kind, error, trace)
        self._span.set_attributes(self.labels)
        if error is not None:
            self._span.set_status(_FAILED)
        self._scope.__exit__(None, None, None)


class _MeasuredLog:
    """A log whose appends are measured, and which is otherwise the log itself."""

    def __init__(self, log: Log, telemetry: OpenTelemetry) -> None:
        self._log = log
        self._telemetry = telemetry

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append(
        self, topic: str, units: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        with self._telemetry.append() as call:
            outcomes = call.answer(self._log.append(topic, units, until))
        self._telemetry.appended(units, outcomes)
        return outcomes


class _MeasuredRemoteLog(_MeasuredLog):
    """The same for a remote log, which a type check does not see through `__getattr__`."""

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        return cast(RemoteLog, self._log).states(topic, keys)

    def kept(self, topic: str, key: bytes) -> KeyState | None:
        return cast(RemoteLog, self._log).kept(topic, key)


_FAILED = trace.Status(trace.StatusCode.ERROR)


@cache
def _instruments() -> Instruments:
    return Instruments()


@cache
def _measured(kind: type[Any]) -> type[Any]:
    """The class of stores like these that are measured."""
    calls = {name: _measuring(name, getattr(kind, name)) for name in (*HOT, *TRACED)}
    return type(kind.__name__, (kind,), {"__slots__": (), "__module__": kind.__module__, **calls})


def _measuring(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    if iscoroutinefunction(method):

        @wraps(method)
        async def awaited(self: Any, *given: Any, **named: Any) -> Any:
            with self._telemetry.call(name) as call:
                return call.answer(await method(self, *given, **named))

        return awaited

    @wraps(method)
    def called(self: Any, *given: Any, **named: Any) -> Any:
        with self._telemetry.call(name) as call:
            return call.answer(method(self, *given, **named))

    return called


def _cause_of(event: LogEvent) -> str | None:
    """What ended a session, where the event is its end."""
    happened = decode_event(event.kind, event.payload) if event.kind == EXPIRED else None
    return happened.cause if isinstance(happened, Expired) else None


def _type_of(error: BaseException) -> str:
    return error.code if isinstance(error, SessionLedgerError) else type(error).__qualname__


def _backend(log: Log) -> str:
    try:
        return log.describe().backend
    except (SessionLedgerError, OSError):
        return "unknown"


def _version() -> str:
    try:
        return version("sessionledger")
    except PackageNotFoundError:
        return ""
