"""What a store tells of itself to whoever measures it; without OpenTelemetry, nothing.

Whether a store is measured is settled once, when it is opened: measured stores and logs have other
classes, and so nothing stands in the way of those that are not.
"""

from __future__ import annotations

import sys
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from sessionledger.errors import SessionLedgerError
from sessionledger.logs.base import Log

if TYPE_CHECKING:
    from sessionledger.store.telemetry.opentelemetry import Measuring

T = TypeVar("T")


class Call:
    """One call, as a block that answers: this one is not measured."""

    def __enter__(self) -> Call:
        return self

    def answer(self, answer: T) -> T:
        """What the call answers."""
        return answer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """The call answered or raised."""


_UNMEASURED = Call()


class Telemetry:
    """Is told what happens in one store, and keeps it to itself."""

    def observe(self, store: Any) -> None:
        """Measure the calls of this store from here on."""

    def log(self, log: Log) -> Log:
        """The log, with its appends measured."""
        return log

    def call(self, operation: str) -> Call:
        """A call of this name begins."""
        del operation
        return _UNMEASURED

    def reused(self) -> None:
        """A token was presented after it had been rotated, and its grace was over."""

    def swept(self, sessions: int) -> None:
        """So many sessions that lapsed were ended."""

    def failed(self, during: str, error: SessionLedgerError) -> None:
        """An error did not keep a call from being answered."""


SILENT = Telemetry()


def telemetry_of(log: Log, topic: str) -> Telemetry:
    """Where a store on this topic tells of itself."""
    # Who set up an SDK has imported it: without that the API need not be.
    if "opentelemetry" not in sys.modules:
        return SILENT
    measuring = _measuring()
    if measuring is None or not measuring.is_heard():
        return SILENT
    return measuring.of(log, topic)


@cache
def _measuring() -> type[Measuring] | None:
    """How to measure, where the extra `otel` is installed. Importing it is left to this moment."""
    try:
        from sessionledger.store.telemetry.opentelemetry import Measuring
    except ImportError:
        return None
    return Measuring
