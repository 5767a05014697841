"""Exit codes, and what is said on stderr when a command fails."""

from __future__ import annotations

import re
import sys

from sessionledger import (
    ClockJumped,
    DuplicateSession,
    LogError,
    ReauthenticationRequired,
    SessionLedgerError,
    SessionLimitReached,
    VersionConflict,
    WriteContention,
)
from sessionledger.cli.present import escape, json_line

OK = 0
NO = 1
USAGE = 2
REFUSED = 3
UNAVAILABLE = 4
INTERRUPTED = 130
PIPE_CLOSED = 141

MEANINGS = """\
Exit codes:

\b
  0    done; the answer is yes
  1    the answer is no: the session is unknown or not live, its bearer must prove anew who
       it is, verify found a break, or doctor something wrong
  2    bad usage or bad input: nothing was done
  3    refused by the ledger's state: a used token, too many sessions, another version, too
       many writers at once, a clock that can't be right
  4    the ledger is missing, unavailable, damaged or no ledger
  130  interrupted with Ctrl-C
  141  whoever read the output stopped reading
"""

# Most commands succeed: these are compiled where one fails.
_TOKEN = r"harn_sess_[A-Za-z0-9_-]+"  # noqa: S105  its shape
_LONG_ENOUGH_FOR_A_TOKEN = r"'[^']{32,}'"  # noqa: S105
_NO_ARGUMENT = (
    "unexpected extra argument; a token is never an argument: give it on standard input or in "
    "SESSIONLEDGER_TOKEN"
)


class Failure(Exception):
    """A command's own end: its exit code, a stable code for programs, a message for people."""

    def __init__(self, exit_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code


def not_live(what: str) -> Failure:
    """The answer to who asked for a session that is not there, or not any more."""
    return Failure(NO, "not_live", f"no live session has that {what}")


def unknown(what: str) -> Failure:
    """The answer to who asked about something that was never there."""
    return Failure(NO, "unknown", f"nothing is known of that {what}")


def warn(error: SessionLedgerError) -> None:
    """Say on stderr what went wrong without keeping the command from its answer."""
    print(f"warning: {escape(str(error))}", file=sys.stderr)


def report(error: Exception, as_json: bool) -> int:
    """Say on stderr what went wrong, and answer the exit code. Raises what is nobody's fault."""
    exit_code, code, message = _meaning(error)
    message = re.sub(_TOKEN, "harn_sess_…", message)
    if as_json:
        print(json_line({"error": code, "message": message}), file=sys.stderr)
    else:
        print(f"error: {escape(message)}", file=sys.stderr)
    return exit_code


def _meaning(error: Exception) -> tuple[int, str, str]:
    match error:
        case Failure():
            return error.exit_code, error.code, str(error)
        case ReauthenticationRequired():
            return NO, error.code, str(error)
        case DuplicateSession() | SessionLimitReached() | VersionConflict():
            return REFUSED, error.code, str(error)
        case WriteContention() | ClockJumped():
            return REFUSED, error.code, str(error)
        case LogError():
            return UNAVAILABLE, error.code, str(error)
        case SessionLedgerError():
            return USAGE, error.code, str(error)
        case OSError():
            return UNAVAILABLE, "system", str(error)
    if _is_usage(error):
        return USAGE, "usage", _usage(error)
    raise error


def _is_usage(error: Exception) -> bool:
    """Whether it is Typer's complaint, which is not imported for commands that do without it."""
    typer = sys.modules.get("typer")
    # Both of its generations, with Click beside it and inside it, export this one name.
    return typer is not None and isinstance(error, typer.BadParameter.__base__)


def _usage(error: Exception) -> str:
    message: str = getattr(error, "format_message", error.__str__)()
    # An argument that is out of place may be a token of any shape, and Typer would repeat it.
    if "unexpected extra argument" in message.lower():
        return _NO_ARGUMENT
    return re.sub(_LONG_ENOUGH_FOR_A_TOKEN, "'…'", message).rstrip(".")
