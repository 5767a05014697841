"""Rows as they were read, kept until something tells that they are old.

One cache holds rows of one topic. Its stamp is a copy of the header of the WAL-index, which
identifies the state of the database that the rows are right in. While the header equals the stamp,
the rows answer without SQLite.

After a commit the header differs. Then the statement that finds a row also reports what changed:
which versions the last writes superseded. A cache that missed too many of them asks for the links
that events leave to the one before. If rows were rewritten without an event, another epoch began,
and everything is dropped.

The refresh happens at a later read, if the header is still the same. At once it would slow down the
read that comes right after a commit, when SQLite has to read its pages again.

The order is what makes it right, and `tests/logs/sqlite/row_cache/test_model.py` walks all of them:

1. The stamp is taken before the statement whose rows are kept under it, and only while the header
   is whole. Rows may then be newer than the stamp, and never older.
2. A row is kept, and the stamp replaced, only if the stamp is still the one from before the
   statement. A lock guards that. It is not held while SQLite works, and nobody waits for it: a read
   that does not get it goes on without the cache.
3. What is dropped is dropped before the new stamp is there.
4. A key without a row is not remembered: its creation leaves no link.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from sessionledger.logs.base import KeyState
from sessionledger.logs.concurrency.greenlets import allocate_lock
from sessionledger.logs.sqlite.row_cache.wal_header import is_stamp

MAX_ROWS = 16_384
"""Of each generation: when there are so many, they become the old ones, and the old ones go. A row
that is asked for becomes young again."""
MAX_STATE_BYTES = 2048
ADMIT_EVERY = 8
"""Once there are two generations, so many reads of rows that are not kept lead to one that is."""

Changes: TypeAlias = tuple[int, int, int, int | None, int | None, str | None]
"""Whether the rows are folded up to the head, the head, and the epoch. Then the last changes: from
which head, to which, and the versions that were superseded, each before a comma. These three are
None if they are not known. Changes that begin at the same head only grow."""


class Refresh(msgspec.Struct, frozen=True, gc=False):
    """From where a refresh begins: the cache's stamp, and the last event it has seen; and to which
    stamp it leads."""

    before: memoryview | None
    seen: int
    stamp: memoryview


def reaches(changes: Changes, seen: int) -> bool:
    """Whether these changes are all that happened since an event."""
    _, head, _, since, until, superseded = changes
    return superseded is not None and since is not None and since <= seen and until == head


class TopicCache:
    """Rows of one topic. The public attributes are read without a lock.

    statement: finds one row. unstamped: a copy of the header while it identifies no state, which
    it does not until somebody commits. until: when to check again that the file is still in its
    place, by the monotonic clock.
    """

    def __init__(self, header: memoryview, statement: str = "") -> None:
        self.header = header
        self.statement = statement
        self.stamp: memoryview | None = None
        self.unstamped: memoryview | None = None
        self.until = 0.0
        self.rows: dict[bytes, KeyState] = {}
        self._old: dict[bytes, KeyState] = {}
        # By the version of their rows, of both generations.
        self._keys: dict[int, bytes] = {}
        self._old_keys: dict[int, bytes] = {}
        self._seen = 0
        self._applied: tuple[int | None, str] = (None, "")
        self._noted: tuple[Refresh, Changes] | None = None
        self._passed = 0
        self._epoch: int | None = None
        lock = allocate_lock()
        self._take, self._give = lock.acquire, lock.release

    def begin_refresh(self) -> Refresh | None:
        """What a read that asks for changes starts from; None without a header."""
        before, seen = self.stamp, self._seen
        try:
            return Refresh(before, seen, memoryview(self.header.tobytes()).cast("Q"))
        except ValueError:
            return None

    def note(self, refresh: Refresh, changes: Changes) -> None:
        """What changed, for a later read to act upon."""
        self._noted = refresh, changes

    def refresh(self) -> memoryview | None:
        """Act upon the changes that were noted; the new stamp, if it still is the header's.

        None where nothing was noted, another thread was faster, or the rows are behind.
        """
        noted = self._noted
        if noted is None:
            return None
        refresh, changes = noted
        before, seen, stamp = refresh.before, refresh.seen, refresh.stamp
        if self.header != stamp:
            return None
        current, head, epoch, since, _, superseded = changes
        self._noted = None
        if not is_stamp(stamp):
            self.unstamped = stamp
            return None
        if not current or not self._take(False):
            return None
        try:
            if self.stamp is not before or self._seen != seen:
                return None
            if epoch != self._epoch or head < seen:
                self._drop_all()
            elif head > seen:
                self._drop_superseded(since, superseded if reaches(changes, seen) else None)
            self._seen, self._epoch = head, epoch
            self.stamp = stamp
            return stamp
        finally:
            self._give()

    def find(self, stamp: memoryview, key: bytes) -> KeyState | None:
        """The row, if it is kept."""
        row = self.rows.get(key)
        if row is None:
            row = self._old.get(key)
            if row is not None:
                self.keep(stamp, key, row)
        return row

    def keep(self, stamp: memoryview, key: bytes, row: KeyState) -> None:
        """Keep a row that was read after the stamp was taken, if the cache still has that stamp."""
        if self._old:
            # Where not all fit, few of those that are asked for once are asked for again soon.
            self._passed += 1
            if self._passed % ADMIT_EVERY:
                return
        if len(row[2]) > MAX_STATE_BYTES or not self._take(False):
            return
        try:
            if self.stamp is stamp:
                if key in self.rows or key in self._old:
                    self._drop(key)
                if len(self.rows) >= MAX_ROWS:
                    self._age()
                self._keys[row[0]] = key
                self.rows[key] = row
        finally:
            self._give()

    # A signal may raise between any two lines: in this order no row is ever without its version.

    def _age(self) -> None:
        self._old = {}
        self._old_keys = self._keys
        self._old = self.rows
        self.rows = {}
        self._keys = {}

    def _drop_all(self) -> None:
        self.rows = {}
        self._old = {}
        self._keys = {}
        self._old_keys = {}

    def _drop_superseded(self, since: int | None, superseded: str | None) -> None:
        """Drop the rows of these versions, or everything where they are not told."""
        began, known = self._applied
        new = (superseded or "").removeprefix(known if began == since else "")
        *versions, rest = new.split(",")
        if superseded is None or rest or not all(map(str.isdecimal, versions)):
            self._drop_all()
            return
        self._applied = since, superseded
        for version in map(int, versions):
            key = self._keys.get(version) or self._old_keys.get(version)
            if key is not None:
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        for rows, keys in ((self.rows, self._keys), (self._old, self._old_keys)):
            row = rows.pop(key, None)
            if row is not None:
                keys.pop(row[0], None)
