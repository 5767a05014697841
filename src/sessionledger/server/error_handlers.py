"""From exceptions to responses: every exception that a request raises becomes a problem."""

from __future__ import annotations

import logging
import re
import time
import traceback
from collections.abc import Callable
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from sessionledger import SessionLedgerError
from sessionledger.server.http.parameters import EXPECTED
from sessionledger.server.http.problems import (
    MEDIA_TYPE,
    HTTPProblem,
    failed,
    in_a_sentence,
    invalid,
    ledger_problem,
)

UNAVAILABLE = 503
OUTAGE_SECONDS = 1.0

_MISSING = re.compile(r"Missing required \w+ parameter '([^']*)'")
_LOG = logging.getLogger("sessionledger.server")


def problem_of(error: Exception) -> HTTPProblem:
    """The problem that a client is told when its request raised this."""
    match error:
        case HTTPProblem():
            return error
        case SessionLedgerError():
            problem = ledger_problem(error)
            if problem.problem.status == UNAVAILABLE:
                log_outage(str(error))
            return problem
        case ValidationException():
            return _invalid_argument(error)
        case HTTPException() if error.status_code < 500:
            return _framework_problem(error)
    log_failure(error)
    return failed()


class OutageLog:
    """Writes why requests can't be answered, once a second at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._due = -OUTAGE_SECONDS
        self._untold = 0

    def __call__(self, reason: str) -> None:
        """Count one request, and write how many there were since the last line."""
        self._untold += 1
        if self._clock() >= self._due:
            _LOG.error("the ledger can't be used, requests: %d, last: %s", self._untold, reason)
            self._due, self._untold = self._clock() + OUTAGE_SECONDS, 0


log_outage = OutageLog()


def log_failure(error: BaseException) -> None:
    """Log where the service failed. The message stays out: it might repeat what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    _LOG.error("%s at %s", type(error).__name__, where)


def _handle(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    problem = problem_of(error)
    return Response(
        msgspec.json.encode(problem.problem),
        status_code=problem.problem.status,
        media_type=MEDIA_TYPE,
        headers=problem.headers | {"Cache-Control": "no-store"},
    )


HANDLERS: ExceptionHandlersMap = {Exception: _handle, HTTPException: _handle}


def _framework_problem(error: HTTPException) -> HTTPProblem:
    """The framework's own errors: no such path, another method, too large a body."""
    code, detail = _FRAMEWORK.get(
        error.status_code, ("invalid_request", "the request can't be taken")
    )
    return HTTPProblem(error.status_code, code, detail, headers=error.headers)


_FRAMEWORK = {
    404: ("not_found", "there is nothing at that path"),
    405: ("method_not_allowed", "that path does not take this method"),
    413: ("too_large", "the body is larger than allowed"),
}


# The client's name for an argument of a handler, where the two differ.
_CLIENT_NAMES = {
    "data": "body",
    "idempotency_key": "Idempotency-Key",
    "if_match": "If-Match",
    "last_event_id": "Last-Event-ID",
}


def _invalid_argument(error: ValidationException) -> HTTPProblem:
    """A parameter that is missing, or is not what is expected."""
    extra: Any = error.extra
    if isinstance(extra, list) and extra:
        name = extra[0].get("key", "data")
        return invalid(_CLIENT_NAMES.get(name, name), _in_words(name, extra[0]["message"]))
    missing = _MISSING.search(error.detail)
    return invalid(missing[1] if missing else "request", "is required")


def _in_words(name: str, message: str) -> str:
    """The framework's message on an argument, with words in the place of a pattern."""
    if message == repr(name):
        return "is required"
    for pattern, words in EXPECTED.items():
        if repr(pattern) in message:
            return words
    return in_a_sentence(message)
