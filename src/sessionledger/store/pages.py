"""Pages of sessions and the opaque cursors between them."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import ClassVar, Literal, TypeAlias, get_args

import msgspec

from sessionledger.core.session import Session
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import Row
from sessionledger.plain import as_number

PAGE_SIZE = 100
MAX_PAGE_SIZE = 1000
_INT64 = 1 << 63

_place = msgspec.json.Decoder(tuple[int, bytes, int])


ListedState: TypeAlias = Literal["live", "lapsed", "ended", "all"]


class Page(msgspec.Struct, frozen=True):
    """Some sessions, and the cursor after which the next page begins; None after the last.

    `STATES` are those that a listing can be of.
    """

    STATES: ClassVar[tuple[str, ...]] = get_args(ListedState)

    sessions: list[Session]
    cursor: str | None


def cursor_of(row: Row) -> str:
    """A text that names the place of a row in its listing. It holds no secret."""
    place = msgspec.json.encode((row.created, row.key, row.expires))
    return urlsafe_b64encode(place).decode().rstrip("=")


def row_at(cursor: str | None) -> Row | None:
    """The place that a cursor names. Raises `InvalidSession` for a text that is no cursor."""
    if cursor is None:
        return None
    place = _read(cursor)
    if place is None:
        raise InvalidSession("cursor", "is not one that a listing answered")
    created, key, expires = place
    return Row(key, 0, created, "", expires, False, b"")


def _read(cursor: str) -> tuple[int, bytes, int] | None:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        place = _place.decode(urlsafe_b64decode(padded))
    except (AttributeError, ValueError):
        return None
    return place if 0 <= place[0] < _INT64 and abs(place[2]) < _INT64 else None


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
