"""What a store reports to a measurer. Here nothing is measured."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, TypeVar

from sessionledger.errors import SessionLedgerError
from sessionledger.logs.base import Log
from sessionledger.store.audit.reports import Stats

T = TypeVar("T")


class Call:
    """One call, as a block that answers: this one is not measured."""

    def __enter__(self) -> Call:
        return self

    def answer(self, answer: T) -> T:
        """What the call answers."""
        return answer

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
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

    def compared(self, difference: timedelta) -> None:
        """So far is the clock of the newest event ahead of this one."""

    def counted(self, stats: Stats) -> None:
        """So much there is now."""

    def failed(self, during: str, error: SessionLedgerError) -> None:
        """An error did not keep a call from being answered."""


SILENT = Telemetry()
