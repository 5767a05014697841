"""sessionledger: event-sourced, revocable bearer sessions."""

from typing import TYPE_CHECKING

from sessionledger.core.history import HistoryEntry
from sessionledger.core.policy import Policy
from sessionledger.core.session import IssuedSession, Session
from sessionledger.core.token import Handle
from sessionledger.errors import (
    ClockJumped,
    CorruptLog,
    DuplicateSession,
    InvalidEvent,
    InvalidPolicy,
    InvalidSession,
    InvalidURL,
    LogError,
    LogUnavailable,
    NotALedger,
    ReauthenticationRequired,
    SessionLedgerError,
    SessionLimitReached,
    StoreClosed,
    UnsupportedSchema,
    VersionConflict,
    WriteContention,
)
from sessionledger.findings import Finding
from sessionledger.logs.base import (
    Appended,
    Change,
    Conflict,
    Description,
    Draft,
    Fold,
    Guard,
    Log,
    LogEvent,
    Put,
    Row,
    RowFilter,
    StoredEvent,
    Unit,
)
from sessionledger.logs.url import open_log, open_snapshot
from sessionledger.store.audit.offline import diagnose
from sessionledger.store.audit.reports import LedgerHead, Stats, Verification
from sessionledger.store.operations.history import CaughtUp
from sessionledger.store.pages import Page
from sessionledger.store.sync import SessionStore

__version__ = "0.1.0"

__all__ = [
    "Appended",
    "AsyncSessionStore",
    "CaughtUp",
    "Change",
    "ClockJumped",
    "Conflict",
    "CorruptLog",
    "Description",
    "Draft",
    "DuplicateSession",
    "Finding",
    "Fold",
    "Guard",
    "Handle",
    "HistoryEntry",
    "InvalidEvent",
    "InvalidPolicy",
    "InvalidSession",
    "InvalidURL",
    "IssuedSession",
    "LedgerHead",
    "Log",
    "LogError",
    "LogEvent",
    "LogUnavailable",
    "NotALedger",
    "Page",
    "Policy",
    "Put",
    "ReauthenticationRequired",
    "Row",
    "RowFilter",
    "Session",
    "SessionLedgerError",
    "SessionLimitReached",
    "SessionStore",
    "Stats",
    "StoreClosed",
    "StoredEvent",
    "Unit",
    "UnsupportedSchema",
    "Verification",
    "VersionConflict",
    "WriteContention",
    "diagnose",
    "open_log",
    "open_snapshot",
]


if TYPE_CHECKING:
    from sessionledger.store.aio import AsyncSessionStore
else:

    def __getattr__(name: str) -> object:
        """Asyncio is a third of an import, and only this one name needs it (PEP 562)."""
        if name != "AsyncSessionStore":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sessionledger.store.aio import AsyncSessionStore

        return AsyncSessionStore
