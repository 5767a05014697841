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
from sessionledger.server.http.etags import IF_MATCH
from sessionledger.server.http.problems import (
    MEDIA_TYPE,
    Refused,
    failed,
    in_a_sentence,
    invalid,
    refused_by_ledger,
)
from sessionledger.server.http.schemas import HANDLE_PATTERN
from sessionledger.server.routes.events import EVENT_ID
from sessionledger.server.service.idempotency import KEY_PATTERN
from sessionledger.server.service.service import Call

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

_MEANT = {
    HANDLE_PATTERN: "must be a handle: sha256:v1: and 64 lower-case hex digits",
    EVENT_ID: "must be the id of an event, in digits",
    IF_MATCH: "must be *, or ETags in double quotes",
    KEY_PATTERN: "must be 1 to 255 characters of printable ASCII without spaces",
}


def _invalid_argument(error: ValidationException) -> Refused:
    """A parameter that is missing, or is not what is expected."""
    extra: Any = error.extra
    if isinstance(extra, list) and extra:
        name = extra[0].get("key", "data")
        return invalid(_CALLED.get(name, name), _in_words(name, extra[0]["message"]))
    missing = _MISSING.search(error.detail)
    return invalid(missing[1] if missing else "request", "is required")


def _in_words(name: str, text: str) -> str:
    """What the framework says of an argument, without expressions that few can read."""
    if text == repr(name):
        return "is required"
    for pattern, words in _MEANT.items():
        if repr(pattern) in text:
            return words
    return in_a_sentence(text)
