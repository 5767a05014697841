"""Pages of sessions and the opaque cursors between them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode

import msgspec

from sessionledger.core.session import Session
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import Row
from sessionledger.plain import as_number

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_INT64 = 1 << 63

_place = msgspec.json.Decoder(tuple[int, bytes])


class Page(msgspec.Struct, frozen=True):
    """Some sessions, and the cursor after which the next page begins; None after the last."""

    sessions: list[Session]
    cursor: str | None


def cursor_of(row: Row) -> str:
    """A text that names the place of a row in its listing. It holds no secret."""
    return urlsafe_b64encode(msgspec.json.encode((row.created, row.key))).decode().rstrip("=")


def row_at(cursor: str | None) -> Row | None:
    """The place that a cursor names. Raises `InvalidSession` for a text that is no cursor."""
    if cursor is None:
        return None
    place = _read(cursor)
    if place is None:
        raise InvalidSession("cursor", "is not one that a listing answered")
    created, key = place
    return Row(key, 0, created, "", 0, False, b"")


def _read(cursor: str) -> tuple[int, bytes] | None:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        created, key = _place.decode(urlsafe_b64decode(padded))
    except (AttributeError, ValueError):
        return None
    return (created, key) if 0 <= created < _INT64 else None


def check_size(size: int) -> int:
    """The page size, if it is one. Raises `InvalidSession`."""
    number = as_number(size)
    if number is None or not 1 <= number <= MAX_PAGE_SIZE:
        raise InvalidSession("page_size", f"must be a whole number from 1 to {MAX_PAGE_SIZE}")
    return number


def check_after(after: object) -> int:
    """The id of an event, if it is one. Raises `InvalidSession`."""
    number = as_number(after)
    if number is None or number < 0:
        raise InvalidSession("after", "must be the id of an event, or 0")
    return number
