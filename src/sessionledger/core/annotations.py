"""Who, why and from where: what stands beside an event, in its headers."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec
from msgspec.structs import replace

from sessionledger.canonical import is_unicode
from sessionledger.core.events import Created, DecodedEvent, Touched
from sessionledger.core.policy import Policy
from sessionledger.core.token import TOKEN_PREFIX
from sessionledger.errors import InvalidSession
from sessionledger.plain import as_text

REASON = "sessionledger.reason"
ACTOR = "sessionledger.actor"
CONTEXT_PREFIX = "sessionledger.context."
SALT = "sessionledger.salt"
"""Random bytes in the hash of an event with personal data. Once the data and they are gone, the
hash that is kept confirms no guess of the data."""

ERASED = "sessionledger.erased"
"""On the stub of an event of an erased session."""

_PREFIX = TOKEN_PREFIX.encode()
_GENERATED = re.compile(_PREFIX + rb"[A-Za-z0-9_-]{43}")
_PRINCIPAL = re.compile(rb'"principal":"(?:[^"\\]|\\.)*","token_handle"')

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


def context_headers(context: Mapping[str, str]) -> dict[str, str]:
    """The headers of a context that was taken before, and is told again with another event."""
    return {CONTEXT_PREFIX + key: value for key, value in context.items()}


def context_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The context that was given with an event, by its names in order: as it is stored."""
    start = len(CONTEXT_PREFIX)
    return {
        key[start:]: value
        for key, value in sorted(headers.items())
        if key.startswith(CONTEXT_PREFIX)
    }


def with_context(event: DecodedEvent, headers: Mapping[str, str]) -> DecodedEvent:
    """The event with the context that its headers tell."""
    if not headers or not isinstance(event, Created | Touched):
        return event
    context = context_of(headers)
    return replace(event, context=context) if context else event


def is_personal(event: DecodedEvent, headers: Mapping[str, str]) -> bool:
    """Whether an event tells something of a person that could be guessed."""
    if headers or isinstance(event, Created):
        return True
    return isinstance(event, Touched) and event.attributes is not None


def refuse_secrets(token: str | None, payload: bytes, headers: Mapping[str, str]) -> None:
    """Raises `InvalidSession` when a token stands in what is about to be stored.

    `token` is the session's own, where it is known; whatever has the shape of a generated token is
    refused as well, whosever it is.
    """
    if token is None and not headers and _PREFIX not in payload:
        return
    # As it would stand in the payload's JSON, where quotes and control characters are escaped.
    escaped = None if token is None else _encode(token)[1:-1]
    if _holds_token(payload, escaped):
        principal = _PRINCIPAL.search(payload)
        named = principal is not None and _holds_token(principal[0], escaped)
        raise InvalidSession(
            "principal" if named else "attributes", "must not hold a token, which is never stored"
        )
    for header in headers.items():
        for text in header:
            if _holds_token(text.encode(), None if token is None else token.encode()):
                raise InvalidSession("context", "must not hold a token, which is never stored")


def _holds_token(text: bytes, token: bytes | None) -> bool:
    if token is not None and token in text:
        return True
    return _PREFIX in text and _GENERATED.search(text) is not None


def _context(context: object) -> dict[str, str]:
    if not isinstance(context, Mapping):
        raise InvalidSession("context", f"must be a mapping, not {type(context).__name__}")
    headers = {}
    for key, value in context.items():
        name = as_text(key)
        if not name or not name.isascii() or not name.isprintable():
            raise InvalidSession("context", "must have keys of printable ASCII")
        headers[CONTEXT_PREFIX + name] = _text("context", value)
    return headers


def _text(field: str, value: object) -> str:
    text = as_text(value)
    if text is None:
        raise InvalidSession(field, f"must be text, not {type(value).__name__}")
    if not is_unicode(text):
        raise InvalidSession(field, "holds a lone surrogate, which is not text")
    return text


def _refuse_long(headers: Mapping[str, str], policy: Policy) -> None:
    size = sum(len(key) + len(value.encode()) for key, value in headers.items())
    if size > policy.max_annotation_bytes:
        fit = policy.max_annotation_bytes
        raise InvalidSession("context", f"takes {size} bytes with reason and actor; {fit} fit")
