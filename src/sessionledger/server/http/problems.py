"""Problems: what went wrong, as RFC 9457 says it, with the codes of our error tree.

Two kinds of exceptions become problems: ours, and those of the library. A problem never repeats
what the client sent, but for names of fields; and no token, whatever it was taken for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from math import ceil

import msgspec

from sessionledger import (
    DuplicateSession,
    HistoryCut,
    InvalidEvent,
    InvalidSession,
    LedgerRestored,
    LogError,
    ReauthenticationRequired,
    RotationLimitReached,
    SessionLedgerError,
    SessionLimitReached,
    VersionConflict,
)

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:sessionledger:problem:"

_TOKEN = re.compile(r"harn_sess_[A-Za-z0-9_-]+")


class Problem(msgspec.Struct, omit_defaults=True, kw_only=True):
    """RFC 9457. code: stable, for programs. field: the member, parameter or header at fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    field: str | None = None


class HTTPProblem(Exception):
    """A request that is not carried out, with the status and the code that say why."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.headers = dict(headers or {})
        self.problem = Problem(
            type=TYPE_PREFIX + code,
            title=HTTPStatus(status).phrase,
            status=status,
            detail=without_tokens(detail),
            code=code,
            field=None if field is None else without_tokens(field),
        )


def with_status(problem: Problem, status: int) -> Problem:
    """The problem where only another status can be answered."""
    return msgspec.structs.replace(problem, status=status, title=HTTPStatus(status).phrase)


def without_tokens(text: str) -> str:
    """The text with whatever has the shape of a generated token cut short."""
    return _TOKEN.sub("harn_sess_…", text)


def in_a_sentence(text: str) -> str:
    """What a library says, as it stands behind a colon; JSON stays JSON."""
    return text[:1].lower() + text[1:] if text[1:2].islower() else text


def invalid(field: str, detail: str) -> HTTPProblem:
    """What is answered to input that can't be taken."""
    return HTTPProblem(400, "invalid_request", f"{field}: {detail}", field=field)


def not_found() -> HTTPProblem:
    """The answer for what is not live: unknown, expired and revoked alike."""
    return HTTPProblem(404, "not_found", "no live session has that handle")


def too_many(what: str, seconds: float, told: Mapping[str, str]) -> HTTPProblem:
    """The answer to a client that asks too often. told: the headers of its limit."""
    headers = {**told, "Retry-After": str(max(1, ceil(seconds)))}
    return HTTPProblem(429, "too_many_requests", what, headers=headers)


def ledger_problem(error: SessionLedgerError) -> HTTPProblem:
    """What an error of the library is as a problem."""
    match error:
        case InvalidSession():
            field = _CLIENT_NAMES.get(error.field, error.field)
            return HTTPProblem(422, error.code, f"{field} {error.message}", field=field)
        case InvalidEvent():
            return HTTPProblem(422, error.code, str(error))
        case VersionConflict():
            return HTTPProblem(412, error.code, str(error), field="If-Match")
        case RotationLimitReached():
            wait = {"Retry-After": str(ceil(error.retry_after.total_seconds()))}
            return HTTPProblem(429, error.code, str(error), headers=wait)
        case DuplicateSession() | SessionLimitReached():
            return HTTPProblem(409, error.code, str(error))
        case HistoryCut() | LedgerRestored():
            return HTTPProblem(410, error.code, str(error))
        case ReauthenticationRequired():
            return HTTPProblem(401, error.code, "its bearer must prove again who that is")
        case LogError():
            # Its message is for whoever keeps the ledger, and may name files.
            return unavailable(error.code, "the ledger can't be used now")
    return unavailable(error.code, str(error))


# Where the library's name of an argument is another one.
_CLIENT_NAMES = {"changes": "attributes", "page_size": "limit"}


def unavailable(code: str, detail: str) -> HTTPProblem:
    """What is answered while the service can't do its work."""
    return HTTPProblem(503, code, detail, headers={"Retry-After": "1"})


def failed() -> HTTPProblem:
    """What is answered where we are at fault. The log says more."""
    return HTTPProblem(500, "internal_error", "the service failed; its log says more")
