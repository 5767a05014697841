"""Arguments as Python's own types: subclasses count as what they extend.

Libraries extend the plain types: freezegun and pendulum times, `StrEnum` text, pendulum spans.
Their subclasses compare, print and encode in ways of their own, so they stop here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, SupportsIndex

import msgspec

# The timestamp 0, decoded. A library that freezes time puts its own class in the place of
# `datetime`, in every module. So code that needs the true class asks for `type(EPOCH)`.
EPOCH: datetime = msgspec.msgpack.decode(b"\xd6\xff\x00\x00\x00\x00")
"""1970-01-01 in UTC, an instance of the interpreter's own `datetime`."""

_ZERO = timedelta(0)


def as_text(value: object) -> str | None:
    """The text as a `str`; None for a value that is not text.

    A lazy translation is no subclass of `str` and has all its methods: it counts as its text.
    """
    if isinstance(value, str):
        return str.__str__(value)
    # A method that only text has.
    return str(value) if callable(getattr(value, "casefold", None)) else None


def as_span(value: object) -> timedelta | None:
    """The span as a `timedelta`; None for a value that is not a span."""
    if type(value) is timedelta:
        return value
    # Not `+`, which would ask the subclass.
    return timedelta.__add__(_ZERO, value) if isinstance(value, timedelta) else None


def as_number(value: Any) -> int | None:
    """The whole number as an `int`; None for any other value, and for `True` and `False`."""
    return int(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else None
