"""sessionledger: event-sourced, revocable bearer sessions."""

from importlib import import_module
from typing import TYPE_CHECKING

try:
    import fcntl as _fcntl  # noqa: F401
except ImportError as missing:
    raise ImportError(
        "sessionledger needs a POSIX system such as Linux or macOS: this Python has no module "
        "`fcntl`. On Windows, use it inside WSL.",
        name="fcntl",
    ) from missing

if TYPE_CHECKING:
    from sessionledger.core.history import HistoryEntry
    from sessionledger.core.instant import NEVER
    from sessionledger.core.policy import Policy
    from sessionledger.core.session import ANONYMOUS, Ancestor, IssuedSession, Session
    from sessionledger.core.token import Handle
    from sessionledger.errors import (
        ClockJumped,
        CorruptLog,
        DuplicateSession,
        HistoryCut,
        InvalidEvent,
        InvalidPolicy,
        InvalidSession,
        InvalidURL,
        LedgerMoved,
        LedgerRestored,
        LogError,
        LogTimeout,
        LogUnavailable,
        MaintenanceRunning,
        NoLedger,
        NotALedger,
        ReauthenticationRequired,
        RotationLimitReached,
        SessionLedgerError,
        SessionLimitReached,
        StoreClosed,
        UnsupportedRuntime,
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
        DocumentLog,
        Draft,
        Fold,
        Log,
        LogEvent,
        Put,
        Row,
        RowFilter,
        Rule,
        StoredEvent,
        Unit,
    )
    from sessionledger.logs.url import LedgerURL, open_log, open_snapshot, parse_url, schema_sql
    from sessionledger.store.aio.store import AsyncSessionStore
    from sessionledger.store.audit.offline import diagnose
    from sessionledger.store.audit.reports import LastRun, LedgerHead, Stats, Verification
    from sessionledger.store.copies.copy import copy
    from sessionledger.store.copies.for_reference import copy_for_reference
    from sessionledger.store.copies.restore import restore
    from sessionledger.store.copies.results import BackedUp, Copied, CopiedForReference, Restored
    from sessionledger.store.erasure.erase import Erasure
    from sessionledger.store.erasure.search import Mention
    from sessionledger.store.history.activity import Activity, ActivityInterval
    from sessionledger.store.history.reader import HistoryPage
    from sessionledger.store.history.watch import CaughtUp
    from sessionledger.store.key_value import AsyncKeyValueStore, KeyValueStore
    from sessionledger.store.maintenance import Maintained
    from sessionledger.store.operations.compaction import Compacted
    from sessionledger.store.operations.listings import Counts
    from sessionledger.store.pages import Page
    from sessionledger.store.sync import SessionStore
else:
    _MODULES = {
        "core.history": "HistoryEntry",
        "core.instant": "NEVER",
        "core.policy": "Policy",
        "core.session": "ANONYMOUS Ancestor IssuedSession Session",
        "core.token": "Handle",
        "errors": (
            "ClockJumped CorruptLog DuplicateSession HistoryCut InvalidEvent InvalidPolicy "
            "InvalidSession InvalidURL LedgerMoved LedgerRestored LogError LogTimeout "
            "LogUnavailable MaintenanceRunning NoLedger NotALedger ReauthenticationRequired "
            "RotationLimitReached SessionLedgerError SessionLimitReached StoreClosed "
            "UnsupportedRuntime UnsupportedSchema VersionConflict WriteContention"
        ),
        "findings": "Finding",
        "logs.base": (
            "Appended Change Conflict Description DocumentLog Draft Fold Log LogEvent Put Row "
            "RowFilter Rule StoredEvent Unit"
        ),
        "logs.url": "LedgerURL open_log open_snapshot parse_url schema_sql",
        "store.aio.store": "AsyncSessionStore",
        "store.audit.offline": "diagnose",
        "store.audit.reports": "LastRun LedgerHead Stats Verification",
        "store.copies.copy": "copy",
        "store.copies.for_reference": "copy_for_reference",
        "store.copies.restore": "restore",
        "store.copies.results": "BackedUp Copied CopiedForReference Restored",
        "store.erasure.erase": "Erasure",
        "store.erasure.search": "Mention",
        "store.history.activity": "Activity ActivityInterval",
        "store.history.reader": "HistoryPage",
        "store.history.watch": "CaughtUp",
        "store.key_value": "AsyncKeyValueStore KeyValueStore",
        "store.maintenance": "Maintained",
        "store.operations.compaction": "Compacted",
        "store.operations.listings": "Counts",
        "store.pages": "Page",
        "store.sync": "SessionStore",
    }
    _MODULE_OF = {name: module for module, names in _MODULES.items() for name in names.split()}

    def __getattr__(name: str) -> object:
        """Import what a name needs when it is first used (PEP 562): many uses need only a few."""
        if name not in _MODULE_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})


__version__ = "0.1.0"

__all__ = [
    "ANONYMOUS",
    "NEVER",
    "Activity",
    "ActivityInterval",
    "Ancestor",
    "Appended",
    "AsyncKeyValueStore",
    "AsyncSessionStore",
    "BackedUp",
    "CaughtUp",
    "Change",
    "ClockJumped",
    "Compacted",
    "Conflict",
    "Copied",
    "CopiedForReference",
    "CorruptLog",
    "Counts",
    "Description",
    "DocumentLog",
    "Draft",
    "DuplicateSession",
    "Erasure",
    "Finding",
    "Fold",
    "Handle",
    "HistoryCut",
    "HistoryEntry",
    "HistoryPage",
    "InvalidEvent",
    "InvalidPolicy",
    "InvalidSession",
    "InvalidURL",
    "IssuedSession",
    "KeyValueStore",
    "LastRun",
    "LedgerHead",
    "LedgerMoved",
    "LedgerRestored",
    "LedgerURL",
    "Log",
    "LogError",
    "LogEvent",
    "LogTimeout",
    "LogUnavailable",
    "Maintained",
    "MaintenanceRunning",
    "Mention",
    "NoLedger",
    "NotALedger",
    "Page",
    "Policy",
    "Put",
    "ReauthenticationRequired",
    "Restored",
    "RotationLimitReached",
    "Row",
    "RowFilter",
    "Rule",
    "Session",
    "SessionLedgerError",
    "SessionLimitReached",
    "SessionStore",
    "Stats",
    "StoreClosed",
    "StoredEvent",
    "Unit",
    "UnsupportedRuntime",
    "UnsupportedSchema",
    "Verification",
    "VersionConflict",
    "WriteContention",
    "copy",
    "copy_for_reference",
    "diagnose",
    "open_log",
    "open_snapshot",
    "parse_url",
    "restore",
    "schema_sql",
]
