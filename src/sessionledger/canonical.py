"""The one JSON text of a value: compact, keys sorted by bytes, numbers as the reference has them.

Hashes are taken over this text, so it must be the same on every machine and in both
implementations. Integers keep all their digits; a float is the shortest text that reads back to
the same bits, in positional notation from 1e-5 up to 1e16 and as `1.5e-7` or `1e+16` beyond
(`serde_json`'s notation, which the reference stores).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from sessionledger.plain import as_text

_POSITIONAL_BELOW = 1e16
# One that is torn off reaches to the end: each quote begins a match, so that a text is read once.
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)', re.DOTALL)
_MOST_DIGITS = 4300
_TOO_LONG = "holds an integer of more digits than Python converts to text"
# Its sign counts where it is read, and not where it is written.
_UNREADABLE = re.compile(rb"-\d{4300}")
_LEAVES = frozenset((str, int, bool, type(None)))

_sorted = msgspec.json.Encoder(order="sorted")
_object = msgspec.json.Decoder(dict[str, Any])


class NotJSON(ValueError):
    """A value that has no JSON text: the message says what is in it, not where it came from."""


def encode(value: Any, *, max_depth: int | None = None) -> bytes:
    """The canonical text of a JSON value.

    `max_depth` bounds the nesting of objects and arrays (`{"a": 1}` is one level deep).
    Raises `NotJSON` for anything that JSON can't hold: NaN, infinities, lone surrogates, keys
    that are not text, other types, and values nested deeper than allowed.
    """
    try:
        text = _sorted.encode(_plain(value, -1 if max_depth is None else max_depth))
        if len(text) <= _MOST_DIGITS or not _UNREADABLE.search(_STRING.sub(b"", text)):
            return text
        problem = _TOO_LONG
    except NotJSON:
        raise
    except UnicodeEncodeError:
        problem = "holds a lone surrogate, which no UTF-8 text can carry"
    except RecursionError:
        problem = "is nested too deep to be written"
    except ValueError:
        problem = _TOO_LONG
    # Outside of the block, so that the error has no context, which would hold the value.
    raise NotJSON(problem)


def is_unicode(text: str) -> bool:
    """Whether the text can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def decode(text: bytes) -> Any:
    """The value of a JSON text. Raises `NotJSON`."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise NotJSON(f"can't be read as JSON: {error}") from None


def decode_object(text: bytes) -> dict[str, Any]:
    """The object of a JSON text that is known to be one."""
    return _object.decode(text)


def nests_deeper(text: bytes, levels: int) -> bool:
    """Whether a JSON text nests deeper than so many objects and arrays.

    The decoder's own limit depends on how deep its caller stands, and so can't be relied on.
    """
    if text.count(b"{") + text.count(b"[") <= levels:
        return False
    depth = 0
    for character in _STRING.sub(b"", text):
        if character in b"{[":
            depth += 1
            if depth > levels:
                return True
        elif character in b"}]":
            depth -= 1
    return False


def _plain(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind in _LEAVES:
        return value
    if kind is dict:
        return _plain_object(value, depth)
    if kind is list or kind is tuple:
        return _plain_array(value, depth)
    if kind is float:
        return _plain_float(value)
    return _plain_subclass(value, depth)


def _plain_object(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    if not depth:
        raise NotJSON("is nested deeper than allowed")
    plain = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotJSON("has an object key that is not text")
        plain[key] = item if type(item) in _LEAVES else _plain(item, depth - 1)
    return plain


def _plain_array(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    if not depth:
        raise NotJSON("is nested deeper than allowed")
    return [_plain(item, depth - 1) for item in value]


def _plain_float(value: float) -> float | msgspec.Raw:
    if not isfinite(value):
        raise NotJSON("holds NaN or an infinity, which JSON does not have")
    if abs(value) < _POSITIONAL_BELOW:
        return value
    return msgspec.Raw(repr(value).encode())


def _plain_subclass(value: Any, depth: int) -> Any:
    """Subclasses of JSON's types (an `IntEnum`, a `defaultdict`) count as what they extend."""
    if isinstance(value, Mapping):
        return _plain_object({_text(key): item for key, item in value.items()}, depth)
    if isinstance(value, (list, tuple)):
        return _plain_array(value, depth)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _plain_float(float(value))
    text = as_text(value)
    if text is not None:
        return text
    raise NotJSON(f"holds a value of type {type(value).__name__}, which JSON does not have")


def _text(key: Any) -> Any:
    return str.__str__(key) if isinstance(key, str) else key
