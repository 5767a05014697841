"""Exit codes, and the exception by which a command ends with one of them."""

from __future__ import annotations

OK = 0
NO = 1
USAGE = 2
REFUSED = 3
UNAVAILABLE = 4
INTERRUPTED = 130
PIPE_CLOSED = 141

MEANINGS = {
    OK: "Done; the answer is yes.",
    NO: "The answer is no: the session is unknown or not live, its bearer must authenticate "
    "again, `verify` found a break, or `doctor` a problem.",
    USAGE: "Bad usage or bad input: nothing was done.",
    REFUSED: "Refused by the ledger's state: a used token, too many sessions, another version, "
    "too many writers at once, or a clock that can't be right. Also removed events, and a ledger "
    "that another process maintains.",
    UNAVAILABLE: "The ledger is missing, unavailable, damaged or no ledger.",
    INTERRUPTED: "Interrupted with Ctrl-C.",
    PIPE_CLOSED: "The reader of the output stopped reading.",
}


class Failure(Exception):
    """A command's own end: its exit code, a stable code for programs, a message for people."""

    def __init__(self, exit_code: int, code: str, message: str) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.code = code


def bad_usage(message: str) -> Failure:
    """The end of a command whose arguments can't be understood."""
    return Failure(USAGE, "usage", message)


def not_live(what: str) -> Failure:
    """The answer about a session that was never there, or is over."""
    return Failure(NO, "not_live", f"no live session has that {what}")


def unknown(what: str) -> Failure:
    """The answer about something that was never there."""
    return Failure(NO, "unknown", f"nothing is known of that {what}")
