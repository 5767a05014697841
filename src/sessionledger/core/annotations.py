"""Who, why and whence: what stands beside an event, as its headers."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sessionledger.canonical import is_unicode
from sessionledger.core.policy import Policy
from sessionledger.errors import InvalidSession

REASON = "sessionledger.reason"
ACTOR = "sessionledger.actor"
CONTEXT_PREFIX = "sessionledger.context."

_encode = msgspec.json.Encoder().encode


def annotate(
    reason: object, actor: object, context: Mapping[str, str] | None, policy: Policy
) -> dict[str, str]:
    """Reason, actor and context as headers. Raises `InvalidSession`."""
    headers: dict[str, str] = {}
    if reason is not None:
        headers[REASON] = _text("reason", reason)
    if actor is not None:
        headers[ACTOR] = _text("actor", actor)
    if context is not None:
        headers |= _context(context)
    if headers:
        _refuse_long(headers, policy)
    return headers


def context_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The context that was given with an event."""
    start = len(CONTEXT_PREFIX)
    return {key[start:]: value for key, value in headers.items() if key.startswith(CONTEXT_PREFIX)}


def refuse_secret(token: str, payload: bytes, headers: Mapping[str, str]) -> None:
    """Raises `InvalidSession` when the token stands in what is about to be stored."""
    # As it would stand in the payload's JSON, where quotes and control characters are escaped.
    if _encode(token)[1:-1] in payload:
        raise InvalidSession("attributes", "hold the session's own token, which is never stored")
    if any(token in text for header in headers.items() for text in header):
        raise InvalidSession("context", "holds the session's own token, which is never stored")


def _context(context: object) -> dict[str, str]:
    if not isinstance(context, Mapping):
        raise InvalidSession("context", f"must be a mapping, not {type(context).__name__}")
    headers = {}
    for key, value in context.items():
        if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
            raise InvalidSession("context", "must have keys of printable ASCII")
        headers[CONTEXT_PREFIX + key] = _text("context", value)
    return headers


def _text(field: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidSession(field, f"must be text, not {type(value).__name__}")
    if not is_unicode(value):
        raise InvalidSession(field, "holds a lone surrogate, which is not text")
    return str.__str__(value)


def _refuse_long(headers: Mapping[str, str], policy: Policy) -> None:
    size = sum(len(key) + len(value.encode()) for key, value in headers.items())
    if size > policy.max_annotation_bytes:
        fit = policy.max_annotation_bytes
        raise InvalidSession("context", f"takes {size} bytes with reason and actor; {fit} fit")
