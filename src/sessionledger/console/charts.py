"""Bars over time, as numbers that a template draws as SVG. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

WIDTH, HEIGHT = 720, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 4, 8, 20
TICK_EVERY = 6
_NICE = (1, 2, 5, 10)


class Bar(msgspec.Struct, frozen=True):
    """One part of a column. series: what it counts, which is also its class."""

    x: float
    y: float
    width: float
    height: float
    series: str


class Label(msgspec.Struct, frozen=True):
    """A text at a place of an axis."""

    at: float
    text: str


class Chart(msgspec.Struct, frozen=True):
    """Stacked columns. series: those that occur, with their totals."""

    bars: list[Bar]
    hours: list[Label]
    values: list[Label]
    series: dict[str, int]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    bottom: int = HEIGHT - BOTTOM


def stacked(
    columns: Sequence[tuple[datetime, Mapping[str, int]]], order: Iterable[str], zone: ZoneInfo
) -> Chart:
    """The chart of what happened in each interval. order: the series, from the ground upwards."""
    known = [*order]
    names = [*known, *sorted({name for _, parts in columns for name in parts} - {*known})]
    totals = {name: sum(parts.get(name, 0) for _, parts in columns) for name in names}
    top = _nice(max((sum(parts.values()) for _, parts in columns), default=0))
    step = (WIDTH - LEFT - RIGHT) / max(1, len(columns))
    scale = (HEIGHT - TOP - BOTTOM) / top
    bars: list[Bar] = []
    hours: list[Label] = []
    for number, (begins_at, parts) in enumerate(columns):
        x, ground = LEFT + number * step, float(HEIGHT - BOTTOM)
        local = begins_at.astimezone(zone)
        if local.hour % TICK_EVERY == 0:
            hours.append(Label(round(x + step / 2, 1), local.strftime("%H:%M")))
        for name in names:
            height = parts.get(name, 0) * scale
            if height:
                ground -= height
                left, width = round(x + step * 0.1, 1), round(step * 0.8, 1)
                bars.append(Bar(left, round(ground, 1), width, round(height, 1), name))
    values = [Label(round(HEIGHT - BOTTOM - value * scale, 1), str(value)) for value in (0, top)]
    return Chart(bars, hours, values, {name: total for name, total in totals.items() if total})


def _nice(most: int) -> int:
    """The end of an axis: 1, 2 or 5 times a power of ten."""
    power = 1
    while most > 10 * power:
        power *= 10
    return power * next((one for one in _NICE if most <= one * power), 10)
