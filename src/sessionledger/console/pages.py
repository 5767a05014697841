"""The templates, and what they may call: texts of anybody as plain text, and times in one zone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup, escape

from sessionledger import NEVER
from sessionledger.integrations.devices.page import as_shown
from sessionledger.timestamps import stamp

ZONE = "__Host-console-zone"
"""The cookie with the viewer's time zone."""
UTC_ZONE = "UTC"
SHORT_HANDLE = slice(10, 22)


def environment() -> Environment:
    """The templates of this package."""
    made = Environment(
        loader=PackageLoader(__package__ or ""),
        autoescape=True,
        undefined=StrictUndefined,
        lstrip_blocks=True,
    )
    made.globals |= {"time": _time, "text": text, "long_text": long_text, "handle": handle}
    made.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\u2009")
    return made


def zone_of(cookies: Mapping[str, str]) -> ZoneInfo:
    """The time zone that the viewer chose, UTC without a choice."""
    try:
        return ZoneInfo(cookies.get(ZONE, UTC_ZONE))
    except (ValueError, OSError, ZoneInfoNotFoundError):
        return ZoneInfo(UTC_ZONE)


@cache
def zones() -> tuple[str, ...]:
    """The time zones that this system knows."""
    return tuple(sorted({UTC_ZONE, *available_timezones()}))


def shown_time(at: datetime, zone: ZoneInfo) -> str:
    """An instant as the viewer reads it, to the second."""
    if at >= NEVER:
        return "never"
    try:
        return at.astimezone(zone).strftime("%Y-%m-%d %H:%M:%S")
    except OverflowError:
        return stamp(at)[:19].replace("T", " ")


@pass_context
def _time(context: Context, at: datetime | None) -> Markup:
    if at is None:
        return Markup("-")
    shown = shown_time(at, context["zone"])
    return Markup('<time datetime="{}">{}</time>').format(stamp(at), shown)


def text(value: object) -> Markup:
    """One short line of anybody's text, which turns nothing around it."""
    return Markup("<bdi>{}</bdi>").format(as_shown(str(value))) if value else Markup("-")


def long_text(value: object) -> Markup:
    """All of anybody's text, with its lines."""
    plain = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in str(value))
    return Markup("<bdi>{}</bdi>").format(plain)


def handle(value: str) -> Markup:
    """A handle, short; the whole of it is its title."""
    short = escape(value[SHORT_HANDLE] or value)
    return Markup('<code class="handle" title="{}">{}…</code>').format(value, short)
