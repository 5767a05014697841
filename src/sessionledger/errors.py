"""Every error that sessionledger raises.

    SessionLedgerError
    ├── InvalidSession (ValueError)      a token, principal, time or attribute that can't be taken
    ├── InvalidEvent (ValueError)        a topic, event or cursor that can't be taken
    ├── InvalidPolicy (ValueError)       a policy or setting that can't be
    ├── InvalidURL (ValueError)          a ledger's address that can't be understood
    ├── DuplicateSession                 the token was used before, by a session live or ended
    ├── SessionLimitReached              the principal, or the token, has all that it may have
    ├── RotationLimitReached             the family was rotated as often as it may be for now
    ├── VersionConflict                  the session is not at the version that was expected
    ├── ReauthenticationRequired         the session is valid, and its authentication too old
    ├── ClockJumped                      the clock can't be trusted to end anybody's session
    ├── WriteContention                  others changed the session faster than we could decide
    ├── StoreClosed                      used before it was opened or after it was closed
    ├── UnsupportedRuntime (RuntimeError)  no asyncio loop runs here, or gevent came too late
    ├── HistoryCut                       the events that were asked for were removed
    ├── LedgerRestored                   a restore lost the events that were read last
    └── LogError
        ├── LogUnavailable               the storage refused: full, busy, unreadable, gone
        │   ├── NoLedger                 nothing is there to be read
        │   ├── LogTimeout               others had the ledger for too long; nothing was written
        │   ├── MaintenanceRunning       another process compacts or rebuilds the ledger
        │   └── LedgerMoved              a copy took the ledger's place, at another address
        ├── NotALedger                   the file exists and holds something else
        ├── UnsupportedSchema            written by a newer sessionledger
        └── CorruptLog                   what was stored can't be what was written

Each class has a stable `code` for programs to test; messages are for people and may change.
No message, argument or attribute of an error ever holds a token.
"""

from __future__ import annotations

from datetime import timedelta
from typing import ClassVar


class SessionLedgerError(Exception):
    """The root of the tree; catch it to catch all that sessionledger raises on purpose."""

    code: ClassVar[str] = "session_ledger_error"


class InvalidSession(SessionLedgerError, ValueError):
    """Something about a session that can't be taken; nothing was written.

    `field` names the argument: `token`, `principal`, `expires_at`, `attributes`, …
    """

    code = "invalid_session"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message

    def __str__(self) -> str:
        return f"{self.field} {self.message}"


class InvalidEvent(SessionLedgerError, ValueError):
    """A topic, event, limit or cursor that can't be taken; nothing was written."""

    code = "invalid_event"


class InvalidPolicy(SessionLedgerError, ValueError):
    """A policy that contradicts itself, or a setting of a ledger that there is not."""

    code = "invalid_policy"


class InvalidURL(SessionLedgerError, ValueError):
    """A ledger's address that can't be understood; the message lists those that can."""

    code = "invalid_url"


class DuplicateSession(SessionLedgerError):
    """The token was used before. Used tokens are never free again, not even when expired."""

    code = "duplicate_session"


class SessionLimitReached(SessionLedgerError):
    """The principal has as many live sessions, or a token as many successors, as the policy
    allows. Nothing was written."""

    code = "session_limit_reached"


class RotationLimitReached(SessionLedgerError):
    """The family was rotated as often as the policy allows within a minute. Nothing was written.

    `retry_after` is how long to wait.
    """

    code = "rotation_limit_reached"

    def __init__(self, message: str, retry_after: timedelta) -> None:
        super().__init__(message, retry_after)
        self.message = message
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.message}: try again in {self.retry_after.total_seconds():.1f} s"


class VersionConflict(SessionLedgerError):
    """The session is not at the version that `if_version` expected; nothing was written.

    `current` is the version it is at.
    """

    code = "version_conflict"

    def __init__(self, current: int) -> None:
        super().__init__(current)
        self.current = current

    def __str__(self) -> str:
        return f"the session is at version {self.current}: read it and decide again"


class ReauthenticationRequired(SessionLedgerError):
    """The session is live, but its bearer proved who it is too long ago for what was asked."""

    code = "reauthentication_required"


class ClockJumped(SessionLedgerError):
    """The wall clock disagrees with the monotonic clock or with the log: nothing was swept."""

    code = "clock_jumped"


class WriteContention(SessionLedgerError):
    """Concurrent writers changed the session on each of our bounded attempts; try again later."""

    code = "write_contention"


class StoreClosed(SessionLedgerError):
    """The store or log was used before it was opened or after it was closed."""

    code = "store_closed"


class UnsupportedRuntime(SessionLedgerError, RuntimeError):
    """The call can't work in this process or thread; nothing was written. The message says why."""

    code = "unsupported_runtime"


class HistoryCut(SessionLedgerError):
    """The events that were asked for were removed by a compaction.

    `cut` is the last event that was removed. Later events can be read.
    """

    code = "history_cut"

    def __init__(self, cut: int) -> None:
        super().__init__(cut)
        self.cut = cut

    def __str__(self) -> str:
        return f"events up to {self.cut} were removed by a compaction: read on after {self.cut}"


class LedgerRestored(SessionLedgerError):
    """The ledger was restored from a backup, and the event at the cursor is not in it.

    `after` is the last event of the backup. Later events can be read. What was learnt from the
    events that were lost is to be read again.
    """

    code = "ledger_restored"

    def __init__(self, after: int) -> None:
        super().__init__(after)
        self.after = after

    def __str__(self) -> str:
        return (
            "the ledger was restored from a backup, and what this cursor has read is lost: read "
            f"again what you keep, and go on after {self.after}"
        )


class LogError(SessionLedgerError):
    """The log could not do what was asked."""

    code = "log_error"


class LogUnavailable(LogError):
    """The storage refused: full disk, lock not to be had, unreadable path, failed fsync."""

    code = "log_unavailable"


class NoLedger(LogUnavailable):
    """There is no ledger at the address, and only writing a session may make one."""

    code = "no_ledger"

    def __init__(self, location: object) -> None:
        super().__init__(
            f"there is no ledger at {location}; `sessionledger create` makes one, --ledger or "
            "SESSIONLEDGER_URL names another"
        )


class LogTimeout(LogUnavailable):
    """Others had the ledger for as long as a call may wait. Nothing was written."""

    code = "log_timeout"


class MaintenanceRunning(LogUnavailable):
    """Another process compacts or rebuilds the ledger: try again when it is done."""

    code = "maintenance_running"


class LedgerMoved(LogUnavailable):
    """A copy took the place of the ledger. `to` is its address, without a password."""

    code = "ledger_moved"

    def __init__(self, to: str) -> None:
        super().__init__(to)
        self.to = to

    def __str__(self) -> str:
        return f"this ledger was moved to {self.to}, and nothing uses it here: open it there"


class NotALedger(LogError):
    """The file exists and is not a ledger; it was left as it is."""

    code = "not_a_ledger"


class UnsupportedSchema(LogError):
    """The ledger was written by a newer sessionledger than this one."""

    code = "unsupported_schema"


class CorruptLog(LogError):
    """What is stored can't be what was written."""

    code = "corrupt_log"
