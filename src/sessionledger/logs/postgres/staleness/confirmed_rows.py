"""Rows of one topic that were read before, answered for as long as they were confirmed recently.

The rules, without I/O. A tail hands in what each of its rounds read from the server.
`tests/logs/postgres/staleness/test_model.py` walks all orders of rounds, reads, writes and lookups.

1. A round confirms the rows as of the moment before it asked, once every event up to the head that
   it read is applied. If the event at the cursor is another one there, everything is dropped.
2. A row is kept once the cursor is at the event that was the newest in the row's own statement,
   with the same hash. If the cursor was further when the row came, it is not kept.
3. Absence is not kept. An event without a key, such as a mark or a seal, empties the cache. So does
   another epoch, which a rebuild draws.
4. What this process writes is dropped before the write is answered. No row that was read before the
   write is kept afterwards.
5. A lookup takes the window, then the row, and looks at the clocks last. So a process that was
   stopped in between finds the window over. Both clocks must be in it, also if one went backwards.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from sessionledger.logs.base import KeyState
from sessionledger.logs.concurrency.locks import Lock

MAX_ROWS = 32_768
MAX_STATE_BYTES = 2048
MOST_BEHIND = 10_000
"""A cursor that is so many ids behind the head begins again at the head."""

_BOOT = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
since_boot = partial(time.clock_gettime_ns, _BOOT)
"""Nanoseconds since the system was started, those in which it was suspended included."""

_NEVER = (1, 0, 1, 0)


class Passed(NamedTuple):
    """An event that the tail read. key: None if it concerns no key, or can't be read."""

    id: int
    hash: str | None
    key: bytes | None


class Round(NamedTuple):
    """What the tail read of the topic. asked_at: the moment before it asked, by both clocks.
    events: from the one at the cursor on; without a cursor, the newest alone."""

    asked_at: tuple[int, int]
    head: int
    epoch: str | None
    events: Sequence[Passed]


class ConfirmedRows:
    """The cache of one topic. Lookups take no lock. bound: how many nanoseconds after they were
    confirmed the rows still answer."""

    def __init__(
        self,
        bound: int,
        boot: Callable[[], int] = since_boot,
        wall: Callable[[], int] = time.time_ns,
        max_rows: int = MAX_ROWS,
    ) -> None:
        self.cursor = self.generation = 0
        self._bound, self._boot, self._wall, self._max_rows = bound, boot, wall, max_rows
        self._lock = Lock()
        self._window = _NEVER
        self._rows: OrderedDict[bytes, KeyState] = OrderedDict()
        # Rows whose event the cursor has yet to reach: its id, its hash, and the row.
        self._ahead: dict[bytes, tuple[int, str, KeyState]] = {}
        self._hash: str | None = None
        self._epoch: str | None = None
        self._written = 0

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, key: bytes) -> KeyState | None:
        """The row; None if it is not kept, or was not confirmed recently enough."""
        from_boot, to_boot, from_wall, to_wall = self._window
        row = self._rows.get(key)
        if row is None:
            return None
        is_fresh = from_boot <= self._boot() <= to_boot and from_wall <= self._wall() <= to_wall
        return row if is_fresh else None

    def age(self) -> int | None:
        """How many nanoseconds ago the rows were confirmed; None if they answer nothing now."""
        from_boot, to_boot, from_wall, to_wall = self._window
        boot, wall = self._boot(), self._wall()
        is_fresh = from_boot <= boot <= to_boot and from_wall <= wall <= to_wall
        return max(boot - from_boot, wall - from_wall) if is_fresh else None

    def offer(
        self, generation: int, head: int, hash: str | None, rows: Mapping[bytes, KeyState]
    ) -> None:
        """Keep rows that one statement read, which also read the newest event.

        generation: the cache's, from before the statement.
        """
        small = {key: row for key, row in rows.items() if len(row[2]) <= MAX_STATE_BYTES}
        with self._lock:
            is_old = generation != self.generation or head < max(self.cursor, self._written)
            if is_old or hash is None or not self.cursor:
                return
            if head > self.cursor and len(self._ahead) < self._max_rows:
                self._ahead |= {key: (head, hash, row) for key, row in small.items()}
            elif (head, hash) == (self.cursor, self._hash):
                self._keep(small)

    def wrote(self, keys: Collection[bytes] | None, newest: int) -> None:
        """This process wrote rows of these keys, None for all, with ids up to `newest`."""
        with self._lock:
            self._written = max(self._written, newest)
            if keys is None:
                self._drop_all()
            for key in keys or ():
                self._rows.pop(key, None)
                self._ahead.pop(key, None)

    def advance(self, round: Round) -> bool:
        """Apply what a round read. Whether the cursor is at the head now; if not, ask again."""
        with self._lock:
            if not self.cursor and round.events:
                self.cursor, self._hash, _ = round.events[0]
            elif self.cursor and not self._follows(round):
                self._begin_again()
                return False
            self._apply(round.events[1:])
            if round.epoch != self._epoch:
                self._epoch = round.epoch
                self._drop_all()
            if round.head - self.cursor > MOST_BEHIND:
                self._begin_again()
            if self.cursor < round.head:
                return False
            boot, wall = round.asked_at
            # Last: whoever finds it finds nothing that was dropped above.
            self._window = boot, boot + self._bound, wall, wall + self._bound
            return True

    def _follows(self, round: Round) -> bool:
        """Whether the server has the event that the cursor saw, which must have a hash."""
        told = [(event.id, event.hash) for event in round.events[:1]]
        return self._hash is not None and told == [(self.cursor, self._hash)]

    def _begin_again(self) -> None:
        self._window, self.cursor, self._hash = _NEVER, 0, None
        self._drop_all()

    def _apply(self, events: Sequence[Passed]) -> None:
        for self.cursor, self._hash, key in events:
            if key is None:
                self._drop_all()
            else:
                self._rows.pop(key, None)
                if key in self._ahead and self._ahead[key][0] < self.cursor:
                    del self._ahead[key]
        hashes = {event.id: event.hash for event in events}
        for key, (head, hash, row) in list(self._ahead.items() if events else ()):
            if head <= self.cursor:
                del self._ahead[key]
                if hashes.get(head) == hash:
                    self._keep({key: row})

    def _keep(self, rows: Mapping[bytes, KeyState]) -> None:
        for key, row in rows.items():
            if key not in self._rows and len(self._rows) >= self._max_rows:
                self._rows.popitem(last=False)
            self._rows[key] = row

    def _drop_all(self) -> None:
        self.generation += 1
        self._rows, self._ahead = OrderedDict(), {}
