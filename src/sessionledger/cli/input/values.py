"""The values of options as people write them. An error says how one is written."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from sessionledger import NEVER
from sessionledger.cli.parser import InvalidValue

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = r"(?a)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?"

_object = msgspec.json.Decoder(dict[str, Any])


def duration(text: str) -> timedelta:
    """A span of time: `90s`, `30m`, `12h`, `7d` or `1h30m`."""
    found = re.fullmatch(_DURATION, text.strip().lower())
    if not found or not any(found.groups()):
        raise InvalidValue("a duration is written like 90s, 30m, 12h, 7d or 1h30m", text)
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    try:
        span = timedelta(seconds=sum(int(count or 0) * unit for count, unit in parts))
    except (OverflowError, ValueError):
        raise InvalidValue("a duration must fit into the calendar", text) from None
    if not span:
        raise InvalidValue("a duration must be positive", text)
    return span


def duration_or_zero(text: str) -> timedelta:
    """The same, or `0s`."""
    return timedelta(0) if text.strip() == "0s" else duration(text)


def format_duration(span: timedelta) -> str:
    """The text of a span of whole seconds, as `duration` reads it."""
    left = span // timedelta(seconds=1)
    text = ""
    for unit, seconds in _UNITS.items():
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"


def session_handle(text: str) -> str:
    """A handle. What else there was is not repeated: it may be a token."""
    if not re.fullmatch(r"sha256:v1:[0-9a-f]{64}", text.strip()):
        raise InvalidValue("a handle is sha256:v1: and 64 hex digits", text)
    return text.strip()


def instant(text: str) -> datetime:
    """A time with its offset, as RFC 3339."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidValue("a time is written like 2030-01-31T12:00:00Z", text) from None
    if found.tzinfo is None:
        raise InvalidValue("a time needs its offset, Z or one like +02:00", text)
    return found


def past(text: str) -> datetime:
    """A time, or how long ago it was: `24h`."""
    try:
        return datetime.now(UTC) - duration(text)
    except (InvalidValue, OverflowError):
        return instant(text)


def end(text: str) -> datetime:
    """A time, or `never`."""
    return NEVER if text.strip() == "never" else instant(text)


def json_object(text: str) -> dict[str, Any]:
    """A JSON object, or `@` and the path of a file that holds one."""
    try:
        source = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        return _object.decode(source)
    except OSError as error:
        raise InvalidValue(f"can't read the file: {error.strerror}", text) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidValue(f"must be a JSON object: {error}", text) from None


def whole_number(least: int) -> Callable[[str], int]:
    """How a number is read that must not be lower than another."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise InvalidValue("must be a whole number", text) from None
        if number < least:
            raise InvalidValue(f"must be at least {least}", text)
        return number

    return read


def key_and_value(text: str) -> dict[str, str]:
    """What stands before and behind the first `=`."""
    key, equals, value = text.partition("=")
    if not equals:
        raise InvalidValue("must be key=value", text)
    return {key: value}


def merged(pairs: dict[str, str] | None, more: dict[str, str]) -> dict[str, str]:
    """How pairs are collected."""
    return {**(pairs or {}), **more}
