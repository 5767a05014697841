"""How listings are ordered, for logs that ask a database for them. `?` stands for a value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any, NamedTuple

from sessionledger.logs.base import Row, RowFilter


class Shape(NamedTuple):
    """Which values a listing has: the text of its statement depends on nothing else."""

    owner: bool
    alias: bool
    group: bool
    live_at: bool
    standing: bool
    ends: bool
    marked: bool
    over: bool
    since: bool
    newest: bool
    after: bool
    limit: bool

    @property
    def named(self) -> bool:
        """Whether it lists the rows of an owner, an alias or a group."""
        return self.owner or self.alias or self.group

    @property
    def by_end(self) -> bool:
        """Whether it lists rows in the order of their ends."""
        return self.ends or self.marked

    @property
    def by_creation(self) -> bool:
        """Whether it lists rows in the order of their creation."""
        return (self.named or self.newest or self.since) and not self.by_end

    @property
    def live(self) -> bool:
        """Whether it lists live rows only: those that no mark ended."""
        return self.live_at or self.ends

    @property
    def order(self) -> str:
        """What orders it, as `RowFilter.position` does."""
        turned = " DESC" if self.newest else ""
        if self.by_end:
            return f"expires{turned}, key{turned}"
        return f"created{turned}" if self.by_creation else "key"

    @property
    def follows(self) -> str:
        """The condition that a row comes after another one, given as its position."""
        than = "<" if self.newest else ">"
        if self.by_end:
            return f"(expires, key) {than} (?, ?)"
        return f"created {than} ?" if self.by_creation else "key > ?"

    def select(
        self, what: str, table: str, conditions: Mapping[str, bool], halves: Sequence[str] = ()
    ) -> str:
        """The statement, with those of the conditions that hold for this shape.

        Its values are numbered, `?1` and so on. halves: conditions that part the rows, where an
        index has each part in order: they are walked side by side and merged.
        """
        where = " AND ".join(condition for condition, holds in conditions.items() if holds)
        numbers = count(1)
        text = f"SELECT {what} FROM {table} WHERE {where}"
        text = re.sub(r"\?", lambda _: f"?{next(numbers)}", text)
        if what.startswith("count("):
            either = f" AND ({' OR '.join(halves)})" if self.over else ""
            return f"{text}{either}"
        if halves:
            text = " UNION ALL ".join(f"{text} AND {half}" for half in halves)
        page = f" LIMIT ?{next(numbers)}" if self.limit else ""
        return f"{text} ORDER BY {self.order}{page}"


def bind(where: RowFilter, after: Row | None, limit: int | None) -> tuple[Shape, list[Any]]:
    """The shape of a listing, and its values in the order of the shape's fields."""
    names = (where.owner, where.alias, where.group, where.live_at)
    given = (*names, where.expires_before, where.created_after)
    values: list[Any] = [value for value in given if value is not None]
    if after is not None:
        values += where.position(after)
    if limit is not None:
        values.append(limit)
    named = [value is not None for value in names]
    ends, since = (one is not None for one in (where.expires_before, where.created_after))
    told = (ends, where.marked, where.over, since, where.newest_first)
    paged = [one is not None for one in (after, limit)]
    return Shape(*[*named, not where.replaced, *told, *paged]), values
