"""What callers pass to every log, checked: names of topics and consumers, and limits of pages."""

from __future__ import annotations

import re

from sessionledger.errors import InvalidEvent
from sessionledger.plain import as_number

MAX_NAME_CHARS = 200
_MAX = (1 << 63) - 1
_NAME = re.compile(r"[A-Za-z0-9._-]+", re.ASCII)


def check_name(what: str, name: str) -> str:
    """The name of a topic or consumer, if it is one. Raises `InvalidEvent`."""
    if not isinstance(name, str):
        raise InvalidEvent(f"a {what} must be text, not {type(name).__name__}")
    if not name:
        raise InvalidEvent(f"a {what} can't be empty")
    if len(name) > MAX_NAME_CHARS:
        raise InvalidEvent(f"a {what} has at most {MAX_NAME_CHARS} characters")
    if not is_name(name):
        # Not repeated: it might be a token, passed by mistake.
        raise InvalidEvent(f"a {what} has ASCII letters, digits, '.', '_' and '-' only")
    return name


def check_names(topic: str, consumer: str) -> tuple[str, str]:
    """The names of a topic and a consumer, if they are names. Raises `InvalidEvent`."""
    return check_name("topic", topic), check_name("consumer", consumer)


def is_name(text: str) -> bool:
    """Whether a topic or consumer can have that name."""
    return bool(_NAME.fullmatch(text)) and text.strip(".") != "" and len(text) <= MAX_NAME_CHARS


def check_limit(limit: int) -> int:
    """The limit, if it is one. Raises `InvalidEvent`."""
    return _number("a limit", limit, 1)


def check_id(id: int) -> int:
    """The id of an event, or 0, as an `int`. Raises `InvalidEvent`."""
    return _number("the id of an event", id, 0)


def check_page(after: int, limit: int) -> tuple[int, int]:
    """What a page of events follows, and its limit. Raises `InvalidEvent`."""
    return check_id(after), check_limit(limit)


def _number(what: str, value: object, least: int) -> int:
    number = as_number(value)
    if number is None:
        raise InvalidEvent(f"{what} must be a whole number, not {type(value).__name__}")
    if not least <= number <= _MAX:
        raise InvalidEvent(f"{what} must be from {least} to {_MAX}, not {number}")
    return number
