"""Values as text. Nothing that was stored can steer a terminal or break a line.

Whatever is not printable is shown as an escape, everywhere.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

from sessionledger.timestamps import stamp

# A flat object in the order of its columns.
Record: TypeAlias = dict[str, Any]

# A table shows names as a whole, so that people can copy them, and the beginning of JSON.
_JSON_CHARS = 60


def escape(text: str) -> str:
    r"""The text with whatever is not printable as an escape: `\x1b`, `\n`, `\u202e`.

    A backslash becomes two, so that no text can pass itself off as another.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(map(_escaped, text))


def json_line(value: Any) -> str:
    """The value as one line of JSON, unprintable characters as its escapes."""
    text = msgspec.json.encode(_encodable(value)).decode()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _json_escape(c) for c in text)


def cell(value: Any) -> str:
    """A value in a column: text escaped, objects as JSON, nothing for None."""
    match value:
        case None:
            return ""
        case str():
            return escape(value)
        case datetime():
            return stamp(value)
        case timedelta():
            return str(value.total_seconds())
        case bool() | dict() | list():
            return json_line(value)
    return str(value)


def line(record: Record) -> str:
    """A record as a tab-separated line."""
    return "\t".join(map(cell, record.values()))


def readable(value: Any) -> str:
    """A value for people: an instant to the second, in UTC."""
    return _second(value) if isinstance(value, datetime) else cell(value)


def short(value: Any) -> str:
    """A value in the column of a table: the beginning of an object, nothing for an empty one."""
    if not isinstance(value, dict | list):
        return readable(value)
    text = cell(value) if value else ""
    return text if len(text) <= _JSON_CHARS else text[: _JSON_CHARS - 1] + "…"


def _second(instant: datetime) -> str:
    date, _, time = stamp(instant).partition("T")
    return f"{date} {time.partition('.')[0]}Z"


def _encodable(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {key: _encodable(item) for key, item in value.items()}
    return value


def _escaped(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
