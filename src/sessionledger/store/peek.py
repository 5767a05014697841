"""What is made of rows, and kept for those that are asked for again.

It is a pure function of all that a row holds. So it is right for as long as the row is found, which
is looked for each time, and nothing has to be forgotten when a session changes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Generic, TypeVar

from sessionledger.core.codec import decode_session
from sessionledger.core.instant import microseconds
from sessionledger.core.lifetimes import touch_interval
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session
from sessionledger.logs.base import OVER, KeyState

T = TypeVar("T")

MAX_ROWS = 8192
MAX_STATE_BYTES = 2048
_MICROSECOND = timedelta(microseconds=1)


class Kept(dict[KeyState, T]):
    """What a function makes of rows: `kept[row]`. Large rows are not kept, and never too many."""

    def __init__(self, make: Callable[[KeyState], T]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, row: KeyState) -> T:
        made = self._make(row)
        if len(row[2]) <= MAX_STATE_BYTES:
            if len(self) >= MAX_ROWS:
                self.clear()
            self[row] = made
        return made


class Excerpt(Generic[T]):
    """What a pure function takes out of sessions, for `excerpt`: all get the same, so nobody may
    change it."""

    def __init__(self, take: Callable[[Session], T]) -> None:
        def read(row: KeyState) -> T | None:
            session = decode_session(row[0], row[2])
            return None if session is None else take(session)

        self.take = take
        self.of_rows = Kept(read)


def settled_until(policy: Policy) -> Kept[int]:
    """Until when, in nanoseconds since 1970 UTC, there is nothing to do for the session in a row
    but to answer it: until it ends, or a touch is due."""

    def until(row: KeyState) -> int:
        session = decode_session(row[0], row[2])
        if session is None:
            return OVER
        interval = touch_interval(session, policy) // _MICROSECOND
        return min(row[1], microseconds(session.last_seen_at) + interval) * 1000

    return Kept(until)
