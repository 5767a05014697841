"""Rows in an order, sorted when somebody asks and not before.

A place says where a row stands, and ends with its key. Rows that changed their place leave the old
one behind, which whoever walks the order skips; once such leftovers are the larger part, or nobody
has asked yet, the order is made anew from all rows.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from sessionledger.logs.base import Row

Place: TypeAlias = Any
"""What rows are compared by: one type per order."""

# Below this share of what is sorted already, new places are put in one by one.
_FEW = 64


class Order:
    """The places of rows, in order. `place` answers None for a row that does not stand in it."""

    def __init__(self, place: Callable[[Row], Place | None]) -> None:
        self.place = place
        self._sorted: list[Place] | None = None
        self._new: list[Place] = []
        self._left = 0

    def move(self, before: Row | None, after: Row) -> None:
        """A row is new or has changed."""
        if self._sorted is None:
            return
        old = None if before is None else self.place(before)
        new = self.place(after)
        if old != new:
            self._left += old is not None
            if new is not None:
                self._new.append(new)

    def walk(self, rows: Iterable[Row], after: Place | None) -> Iterator[Place]:
        """The places behind `after`, old ones among them; `rows` are all there are now."""
        places = self._settle(rows)
        start = 0 if after is None else bisect_right(places, after)
        last = after
        for index in range(start, len(places)):
            # A row that came back to an old place stands there twice.
            if places[index] != last:
                yield places[index]
            last = places[index]

    def _settle(self, rows: Iterable[Row]) -> list[Place]:
        # Until it is whole again nobody has it: a signal may raise anywhere.
        places, self._sorted = self._sorted, None
        if places is None or self._left * 2 > len(places):
            found = [self.place(row) for row in rows]
            places = sorted(place for place in found if place is not None)
            self._left = 0
        else:
            _put_in(places, self._new)
        self._new = []
        self._sorted = places
        return places


def _put_in(places: list[Place], new: list[Place]) -> None:
    if len(new) * _FEW < len(places):
        for place in new:
            insort(places, place)
    else:
        # Two sorted runs, which sorting merges.
        places.extend(sorted(new))
        places.sort()
