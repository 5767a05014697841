"""The answers to requests that are not allowed: RFC 6750, section 3, and RFC 9470.

Whoever answers has a form of his own for it, and takes the words and the challenge from here.
"""

from __future__ import annotations

import re
from datetime import timedelta
from math import ceil
from typing import NamedTuple

from sessionledger import ReauthenticationRequired, RotationLimitReached

_QUOTABLE = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


class Denied(NamedTuple):
    """status: of the answer. code: stable, for programs. detail: for people. challenge: the value
    of `WWW-Authenticate`, or None. retry_after: when to come back, in seconds, or None."""

    status: int
    code: str
    detail: str
    challenge: str | None = None
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What the answer says besides, and that nobody may store it."""
        challenge = {} if self.challenge is None else {"WWW-Authenticate": self.challenge}
        wait = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**challenge, **wait, "Cache-Control": "no-store"}


def missing(realm: str) -> Denied:
    """No credentials: a challenge without an error code (RFC 6750, section 3.1)."""
    return Denied(401, "unauthorized", "credentials are required", _challenge(realm))


def refused_token(realm: str) -> Denied:
    """One answer for every token that is not good: unknown, expired and revoked alike."""
    challenge = _challenge(realm, error="invalid_token")
    return Denied(401, "invalid_token", "the token is not good", challenge)


def malformed(realm: str) -> Denied:
    """The answer to an `Authorization` that can't be read."""
    return Denied(
        400,
        "invalid_request",
        "Authorization can't be read: it is one header, `Bearer` and a token",
        _challenge(realm, error="invalid_request"),
    )


def insufficient(realm: str, scope: str) -> Denied:
    """The answer to a good token that lacks a right."""
    return Denied(
        403,
        "insufficient_scope",
        f"this takes the scope {scope}",
        _challenge(realm, error="insufficient_scope", scope=scope),
    )


def lacking(realm: str) -> Denied:
    """The answer to a good token whose session lacks what no scope stands for."""
    challenge = _challenge(realm, error="insufficient_scope")
    return Denied(403, "insufficient_scope", "the session does not allow this", challenge)


def rotated_too_often(wait: timedelta) -> Denied:
    """The answer to a session whose family was rotated as often as it may be for now."""
    return Denied(
        429,
        RotationLimitReached.code,
        "the session was rotated too often: come back later",
        retry_after=ceil(wait.total_seconds()),
    )


def unavailable(code: str) -> Denied:
    """The answer while the ledger can't be used. Nobody can tell then who is logged in."""
    return Denied(503, code, "the sessions can't be read now: come back later", retry_after=1)


def too_old(realm: str, most: timedelta) -> Denied:
    """RFC 9470: the session is good, and its proof too old for this."""
    seconds = str(round(most.total_seconds()))
    return Denied(
        401,
        ReauthenticationRequired.code,
        "its bearer must prove again who that is",
        _challenge(realm, error="insufficient_user_authentication", max_age=seconds),
    )


def is_quotable(text: str) -> bool:
    """Whether a challenge can repeat it in quotes: printable ASCII without `"` and `\\`."""
    return _QUOTABLE.fullmatch(text) is not None


def is_scope(text: str) -> bool:
    """Whether it is one or several scopes that a challenge can repeat (RFC 6749, section 3.3)."""
    return bool(text.strip()) and is_quotable(text)


def _challenge(realm: str, **told: str) -> str:
    parts = [f'{name}="{value}"' for name, value in {"realm": realm, **told}.items()]
    return f"Bearer {', '.join(parts)}"
