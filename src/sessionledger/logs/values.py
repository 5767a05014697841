"""What logs are given, and what they answer: events, rows, and units of changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
from msgspec.structs import astuple

from sessionledger import canonical
from sessionledger.errors import InvalidEvent


class LogEvent(msgspec.Struct, frozen=True, gc=False):
    """An event to append: its kind, canonical JSON payload, headers, and when it happened.

    `occurred_at_ms` counts milliseconds since 1970 UTC.
    """

    kind: str
    payload: bytes
    headers: Mapping[str, str]
    occurred_at_ms: int

    @classmethod
    def of(
        cls,
        kind: str,
        value: Any,
        *,
        headers: Mapping[str, str] | None = None,
        occurred_at_ms: int | None = None,
    ) -> LogEvent:
        """An event whose payload is any JSON value. Raises `InvalidEvent` for what JSON lacks."""
        try:
            payload = canonical.encode(value)
            plain = canonical.decode(canonical.encode([kind, dict(headers or {})]))
        except canonical.NotJSON as error:
            raise InvalidEvent(f"the event {error}") from None
        at = time.time_ns() // 1_000_000 if occurred_at_ms is None else occurred_at_ms
        return cls(plain[0], payload, plain[1], at)

    @property
    def value(self) -> Any:
        """The payload as a JSON value. Raises `ValueError` for any other."""
        return canonical.decode(self.payload)


class StoredEvent(msgspec.Struct, frozen=True, gc=False):
    """An event in the log, with its id (1 or more) and its chain headers."""

    id: int
    kind: str
    payload: bytes
    headers: Mapping[str, str]
    occurred_at_ms: int

    @property
    def value(self) -> Any:
        """The payload as a JSON value. Raises `ValueError` if it is damaged."""
        return canonical.decode(self.payload)


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A row to be written: the log adds the versions.

    owner: whom listings go by. expires: microseconds since 1970 UTC. live: False once nothing can
    happen to the key any more. state: what the fold reads back. alias: another name that rows can
    be listed by, or None; several keys may share one. group: a third one, for keys that belong
    together. replaced: whether another key of the group stands for it in listings.
    """

    owner: str
    expires: int
    live: bool
    state: bytes
    alias: str | None = None
    group: str | None = None
    replaced: bool = False


class Row(msgspec.Struct, frozen=True, gc=False):
    """The newest state of one key.

    version: id of the newest event of the key. created: id of its first.
    """

    key: bytes
    version: int
    created: int
    owner: str
    expires: int
    live: bool
    state: bytes
    alias: str | None = None
    group: str | None = None
    replaced: bool = False

    @classmethod
    def of(cls, key: bytes, version: int, created: int, draft: Draft) -> Row:
        """The row of a key, with its versions."""
        return cls(key, version, created, *astuple(draft))


class RowFilter(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """Which rows to list or count: those that meet every condition that is given.

    owner, alias, group: rows that have it. live_at: rows that are live at this instant, `OVER` for
    all live ones. expires_before: live rows that end before this instant. Instants are
    microseconds since 1970 UTC. over: rows that are not live, by an end of their own or by the
    topic's mark. marked: those that are over by the mark alone. replaced: False for rows that no
    other one stands for. created_after: rows that were created after that event. newest_first:
    turns the order around; rows without a name then come by their creation.
    """

    owner: str | None = None
    alias: str | None = None
    group: str | None = None
    live_at: int | None = None
    expires_before: int | None = None
    marked: bool = False
    replaced: bool = True
    over: bool = False
    created_after: int | None = None
    newest_first: bool = False

    @property
    def by_end(self) -> bool:
        """Whether it orders rows by their end."""
        return self.marked or self.expires_before is not None

    @property
    def is_named(self) -> bool:
        """Whether it asks for the rows of an owner, an alias or a group."""
        return not self.owner is self.alias is self.group is None

    @property
    def by_creation(self) -> bool:
        """Whether it orders rows by their creation."""
        is_asked = self.is_named or self.newest_first or self.created_after is not None
        return is_asked and not self.by_end

    def matches(self, row: Row) -> bool:
        """Whether the row meets the conditions, except for `marked`."""
        return (
            self.owner in (None, row.owner)
            and self.alias in (None, row.alias)
            and self.group in (None, row.group)
            and (self.replaced or not row.replaced)
            and not (self.over and row.live)
            and (self.created_after is None or row.created > self.created_after)
            and (self.live_at is None or (row.live and row.expires > self.live_at))
            and (self.expires_before is None or (row.live and row.expires < self.expires_before))
        )

    def position(self, row: Row) -> tuple[int | bytes, ...]:
        """What orders the rows of a listing: their end if `expires_before` or `marked` is given,
        else their creation if it is `by_creation`, else their key."""
        if self.by_end:
            return row.expires, row.key
        return (row.created,) if self.by_creation else (row.key,)

    def follows(self, row: Row, other: Row) -> bool:
        """Whether a row comes behind another one in the listing."""
        places = self.position(row), self.position(other)
        return places[0] < places[1] if self.newest_first else places[0] > places[1]


ALL_ROWS = RowFilter()
"""The filter without a condition."""

OVER = -(10**18)
"""The end of what is over, in microseconds: before any instant that somebody may ask about."""

KeyState: TypeAlias = tuple[int, int, bytes]
"""Version, the end in microseconds since 1970 UTC (`OVER` for a row not live), and state."""


class Put(msgspec.Struct, frozen=True, gc=False):
    """The row that goes with an event, and the version of the key that it was decided on.

    draft: what the topic's fold makes of that row by the event. expected: 0 when the key must not
    exist yet, None for unconditional.
    """

    key: bytes
    draft: Draft
    expected: int | None


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event, and the row it makes, if it belongs to a key."""

    event: LogEvent
    put: Put | None = None


Verdict: TypeAlias = Sequence[tuple[Row, LogEvent]]
"""Rows, and the event that each of them gets."""


class Rule(msgspec.Struct, frozen=True, gc=False):
    """What happens to all rows that have a name, decided when the unit is written.

    Nothing can come in between. where: which rows; it asks for a name. decide: given them in the
    order of their creation, it answers events for some of them, or None to refuse the unit. It is
    pure, takes no time, and may be asked twice. after, limit: a page of the rows; None for all.

    follow: what happens besides, just before, or None to refuse the unit. It is given what was
    decided, and all live rows of the groups that the rows of `decide` belong to. They come in the
    order of their creation. groups: more groups whose rows it is given.
    """

    where: RowFilter
    decide: Callable[[Sequence[Row]], Verdict | None]
    after: Row | None = None
    limit: int | None = None
    follow: Callable[[Verdict, Sequence[Row]], Verdict | None] | None = None
    groups: Sequence[str] = ()


class Unit(msgspec.Struct, frozen=True, gc=False):
    """Changes that happen together or not at all, the restricting one first.

    reads: keys that it rests on without changing them, with the version that each must have. rule:
    its events come before the changes, and concern none of their keys.
    """

    changes: Sequence[Change] = ()
    reads: Sequence[tuple[bytes, int]] = ()
    rule: Rule | None = None


class Appended(msgspec.Struct, frozen=True, gc=False):
    """A unit was written, durably: the ids of its events, in order.

    ruled: what its rule decided, in the order of the events. last: the last row that the rule was
    given, if there may be more.
    """

    ids: tuple[int, ...]
    ruled: Verdict = ()
    last: Row | None = None


class Conflict(msgspec.Struct, frozen=True, gc=False):
    """A unit was not written: a key has moved on, or a rule refused.

    key and current: the first key whose version is not the expected one, and its row, None when
    there is none. Both are None where a rule refused.
    """

    key: bytes | None = None
    current: Row | None = None


Outcome: TypeAlias = Appended | Conflict
"""The answer to each unit of an append."""


def key_state_of(row: Row | None) -> KeyState | None:
    """What `Log.state` answers for a row."""
    return None if row is None else (row.version, row.expires if row.live else OVER, row.state)
