"""Spans of time as people write them: `90s`, `30m`, `12h`, `7d`, `1h30m`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
_EXPECTED = "a duration is written like 90s, 30m, 12h, 7d or 1h30m"


def parse_duration(text: str) -> timedelta:
    """The span that a text names. Raises `ValueError`, whose message says how to write one."""
    found = _DURATION.fullmatch(text.strip().lower())
    if not found or not any(found.groups()):
        raise ValueError(_EXPECTED)
    parts = zip(found.groups(), _UNITS.values(), strict=True)
    try:
        span = timedelta(seconds=sum(int(count or 0) * unit for count, unit in parts))
    except (OverflowError, ValueError):
        raise ValueError("that is longer than the calendar") from None
    if not span:
        raise ValueError("a duration is longer than nothing")
    return span


def format_duration(span: timedelta) -> str:
    """The text of a span of whole seconds, as `parse_duration` reads it."""
    left = span // timedelta(seconds=1)
    text = ""
    for unit, seconds in _UNITS.items():
        count, left = divmod(left, seconds)
        text += f"{count}{unit}" if count else ""
    return text or "0s"
