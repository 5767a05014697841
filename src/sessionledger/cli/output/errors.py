"""What standard error says when something went wrong."""

from __future__ import annotations

import re
import sys

import sessionledger
from sessionledger.cli.exit_codes import NO, REFUSED, UNAVAILABLE, USAGE, Failure
from sessionledger.cli.output.formatting import escape, json_line

# Other errors of the library are bad input.
_EXIT_CODES = {
    sessionledger.ReauthenticationRequired: NO,
    sessionledger.DuplicateSession: REFUSED,
    sessionledger.SessionLimitReached: REFUSED,
    sessionledger.RotationLimitReached: REFUSED,
    sessionledger.VersionConflict: REFUSED,
    sessionledger.WriteContention: REFUSED,
    sessionledger.ClockJumped: REFUSED,
    sessionledger.HistoryCut: REFUSED,
    sessionledger.LedgerRestored: REFUSED,
    sessionledger.MaintenanceRunning: REFUSED,
    sessionledger.LogError: UNAVAILABLE,
}
_TOKEN = r"harn_sess_[A-Za-z0-9_-]+"  # noqa: S105  its shape


def warn(error: sessionledger.SessionLedgerError) -> None:
    """Say what went wrong without keeping the command from its answer."""
    print(f"warning: {escape(str(error))}", file=sys.stderr)


def tell(message: str) -> None:
    """Say something beside the answer."""
    print(escape(message), file=sys.stderr)


def report(error: Exception, as_json: bool) -> int:
    """Say what went wrong, and return the exit code. Raises an error that nobody expects."""
    exit_code, code = _meaning(error)
    message = re.sub(_TOKEN, "harn_sess_…", str(error))
    if as_json:
        print(json_line({"error": code, "message": message}), file=sys.stderr)
    else:
        print(f"error: {escape(message)}", file=sys.stderr)
    return exit_code


def _meaning(error: Exception) -> tuple[int, str]:
    match error:
        case Failure():
            return error.exit_code, error.code
        case sessionledger.SessionLedgerError():
            codes = (code for kind, code in _EXIT_CODES.items() if isinstance(error, kind))
            return next(codes, USAGE), error.code
        case OSError():
            return UNAVAILABLE, "system"
    raise error
