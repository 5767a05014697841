"""Rows in an order, sorted when somebody asks and not before.

A position says where a row comes in the order, and ends with the row's key. A row that moves leaves
its old position behind, and a walk skips that. Once most positions are old, or before anybody has
asked, the index is sorted from all rows.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from sessionledger.logs.base import Row

Position: TypeAlias = Any
"""What rows are compared by: one type for each index."""

# Below this share of the sorted positions, new ones are inserted one by one.
_FEW = 64


class SortedIndex:
    """The positions of rows, in order. `position` answers None for a row that is not in it."""

    def __init__(self, position: Callable[[Row], Position | None]) -> None:
        self.position = position
        self._sorted: list[Position] | None = None
        self._new: list[Position] = []
        self._old = 0

    def move(self, before: Row | None, after: Row) -> None:
        """A row is new or has changed."""
        if self._sorted is None:
            return
        old = None if before is None else self.position(before)
        new = self.position(after)
        if old != new:
            self._old += old is not None
            if new is not None:
                self._new.append(new)

    def walk(
        self, rows: Iterable[Row], after: Position | None, *, backwards: bool = False
    ) -> Iterator[Position]:
        """The positions behind `after`, or before it if `backwards`, old ones among them; `rows`
        are all there are now."""
        positions = self._sort(rows)
        last = after
        for index in places(positions, after, backwards=backwards):
            # A row that came back to an old position is there twice.
            if positions[index] != last:
                yield positions[index]
            last = positions[index]

    def _sort(self, rows: Iterable[Row]) -> list[Position]:
        # Nobody has it until it is complete again: a signal may raise anywhere.
        positions, self._sorted = self._sorted, None
        if positions is None or self._old * 2 > len(positions):
            found = [self.position(row) for row in rows]
            positions = sorted(position for position in found if position is not None)
            self._old = 0
        else:
            _insert(positions, self._new)
        self._new = []
        self._sorted = positions
        return positions


def places(
    ordered: Sequence[Any],
    after: Any,
    key: Callable[[Any], Any] | None = None,
    *,
    backwards: bool,
) -> range:
    """The places in an order that come behind a position, or before it; of all without one."""
    if backwards:
        end = len(ordered) if after is None else bisect_left(ordered, after, key=key)
        return range(end - 1, -1, -1)
    start = 0 if after is None else bisect_right(ordered, after, key=key)
    return range(start, len(ordered))


def _insert(positions: list[Position], new: list[Position]) -> None:
    if len(new) * _FEW < len(positions):
        for position in new:
            insort(positions, position)
    else:
        # Two sorted runs, which sorting merges.
        positions.extend(sorted(new))
        positions.sort()
