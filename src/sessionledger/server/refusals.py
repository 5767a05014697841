"""From exceptions to answers, whoever raised them."""

from __future__ import annotations

import logging
import re
import traceback
from typing import Any

import msgspec
from litestar import Response
from litestar.exceptions import HTTPException, ValidationException
from litestar.types import ExceptionHandlersMap

from sessionledger import SessionLedgerError
from sessionledger.server.problems import (
    MEDIA_TYPE,
    Refused,
    failed,
    invalid,
    refused_by_ledger,
)
from sessionledger.server.service import Call

_MISSING = re.compile(r"Missing required \w+ parameter '([^']*)'")
_LOG = logging.getLogger("sessionledger.server")


def refusal(error: Exception) -> Refused:
    """What a request is answered whose handler raised this."""
    match error:
        case Refused():
            return error
        case SessionLedgerError():
            return refused_by_ledger(error)
        case ValidationException():
            return _invalid_argument(error)
        case HTTPException() if error.status_code < 500:
            return _framework(error)
    log_failure(error)
    return failed()


def log_failure(error: BaseException) -> None:
    """Say where we failed. The message stays out: it might repeat what a client sent."""
    places = traceback.extract_tb(error.__traceback__)
    where = " < ".join(f"{place.filename}:{place.lineno}" for place in reversed(places))
    _LOG.error("%s at %s", type(error).__name__, where)


def answer(_: Call, error: Exception) -> Response[bytes]:
    """The problem as a response."""
    return problem_response(refusal(error))


def problem_response(refused: Refused) -> Response[bytes]:
    """A problem, which nobody may store."""
    return Response(
        msgspec.json.encode(refused.problem),
        status_code=refused.problem.status,
        media_type=MEDIA_TYPE,
        headers=refused.headers | {"Cache-Control": "no-store"},
    )


HANDLERS: ExceptionHandlersMap = {Exception: answer, HTTPException: answer}


def _framework(error: HTTPException) -> Refused:
    """The framework's own: no such path, another method, too large a body."""
    told = _TOLD.get(error.status_code, ("invalid_request", "the request can't be taken"))
    return Refused(error.status_code, *told, headers=error.headers)


_TOLD = {
    404: ("not_found", "there is nothing at that path"),
    405: ("method_not_allowed", "that path does not take this method"),
    413: ("too_large", "the body is larger than allowed"),
}


# What clients call what a handler takes, where the two differ.
_CALLED = {
    "data": "body",
    "idempotency_key": "Idempotency-Key",
    "if_match": "If-Match",
    "last_event_id": "Last-Event-ID",
}


def _invalid_argument(error: ValidationException) -> Refused:
    """A parameter that is missing, or is not what is expected."""
    extra: Any = error.extra
    if isinstance(extra, list) and extra:
        name = extra[0].get("key", "data")
        return invalid(_CALLED.get(name, name), _lowered(extra[0]["message"]))
    missing = _MISSING.search(error.detail)
    return invalid(missing[1] if missing else "request", "is required")


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]
