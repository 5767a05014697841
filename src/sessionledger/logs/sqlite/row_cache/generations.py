"""Rows as they were read, for as long as nothing tells that they are old.

One cache holds rows of one topic, with the name of the state of the database that they are right
in. While the header of the WAL-index still has that name, they answer without asking SQLite.

When it has another, the statement that finds a row also tells what happened since: which versions
were superseded by the last writes; who has missed too many of them asks for the links that events
leave to the one before. If rows were rewritten without an event, another epoch began, and
everything is dropped. It is done at a later read, if the header is still the same: doing so at once
would make the read dear that comes right after a commit, when SQLite has to read its pages anew.
And it is put off, once, for a read of a kept row that was superseded: it would drop the row only to
ask SQLite for it. That read asks for its row alone, and learns nothing again. One of a row that is
not kept does settle: it asks anyway, and what it finds can be kept under the new name.

The order is what makes it right, and `tests/logs/sqlite/test_cache_model.py` walks all of them:

1. The name is taken before the statement whose rows are kept under it, and only while the header
   is whole. Rows may then be newer than the name, and never older.
2. A row is kept, and the cache given another name, only if its name is still the one from before
   the statement: under a lock that is not held while SQLite works, and that nobody waits for. Who
   does not get it reads on without the cache: no read waits for another, and none of a signal
   handler for the one that it interrupted.
3. What is dropped is dropped before the new name is there.
4. A key that has no row is not remembered: who creates it leaves no link.
"""

from __future__ import annotations

import threading
from typing import TypeAlias

from sessionledger.logs.base import KeyState
from sessionledger.logs.sqlite.row_cache.wal_header import is_name

MAX_ROWS = 16_384
"""Of each generation: when there are so many, they become the old ones, and the old ones go. A row
that is asked for becomes young again."""
MAX_STATE_BYTES = 2048
ADMIT_EVERY = 8
"""Once there are two generations, so many reads of rows that are not kept lead to one that is."""

News: TypeAlias = tuple[int, int, int, int | None, int | None, str | None]
"""Whether the rows are folded up to the head, the head, the epoch, and between which two heads
which versions were superseded, each before a comma: None where that is not told. News that begin at
the same head only grow."""

Unsettled: TypeAlias = tuple[memoryview | None, int, memoryview]
"""The name and the event up to which the cache was settled, and the header as it is seen next."""


def reaches(news: News, seen: int) -> bool:
    """Whether these news tell all that happened since an event."""
    _, head, _, since, until, superseded = news
    return superseded is not None and since is not None and since <= seen and until == head


class Cache:
    """Rows of one topic. What has a public name is looked at without a lock.

    statement: finds one row. nameless: the header, where it names nothing and will not until
    somebody commits. until: when to see again whether the file is still in its place, by the
    monotonic clock.
    """

    def __init__(self, header: memoryview, statement: str = "") -> None:
        self.header = header
        self.statement = statement
        self.name: memoryview | None = None
        self.nameless: memoryview | None = None
        self.until = 0.0
        self.rows: dict[bytes, KeyState] = {}
        self._old: dict[bytes, KeyState] = {}
        # By the version of their rows, of both generations.
        self._keys: dict[int, bytes] = {}
        self._old_keys: dict[int, bytes] = {}
        self._seen = 0
        self._told: tuple[int | None, str] = (None, "")
        self._learnt: tuple[Unsettled, News] | None = None
        self._put_off = False
        self._passed = 0
        self._epoch: int | None = None
        lock = threading.Lock()
        self._take, self._give = lock.acquire, lock.release

    def begin(self) -> Unsettled | None:
        """What a read has to start with that asks what happened since; None without a header, and
        where it is known already, by a read whose settling is put off."""
        before, seen, learnt = self.name, self._seen, self._learnt
        if learnt is not None and self.header == learnt[0][2]:
            return None
        try:
            return before, seen, memoryview(self.header.tobytes()).cast("Q")
        except ValueError:
            return None

    def learn(self, unsettled: Unsettled, news: News) -> None:
        """What happened since, for a later read to act upon."""
        self._learnt = unsettled, news

    def settle(self, key: bytes) -> memoryview | None:
        """From one name to the next, which is answered, if that is still the header's.

        None where nothing was learnt, somebody else was faster, or the rows are behind; and once
        where the row of that key is kept and would be dropped by it.
        """
        learnt = self._learnt
        if learnt is None:
            return None
        (before, seen, name), news = learnt
        if self.header != name:
            return None
        current, head, epoch, since, _, superseded = news
        if not self._put_off and self._would_drop(key, superseded or ""):
            self._put_off = True
            return None
        self._learnt = None
        if not is_name(name):
            self.nameless = name
            return None
        if not current or not self._take(False):
            return None
        try:
            if self.name is not before or self._seen != seen:
                return None
            if epoch != self._epoch or head < seen:
                self._drop_all()
            elif head > seen:
                self._drop_superseded(since, superseded if reaches(news, seen) else None)
            self._seen, self._epoch = head, epoch
            self._put_off = False
            self.name = name
            return name
        finally:
            self._give()

    def _would_drop(self, key: bytes, superseded: str) -> bool:
        row = self.rows.get(key) or self._old.get(key)
        return row is not None and f"{row[0]}," in superseded

    def find(self, name: memoryview, key: bytes) -> KeyState | None:
        """The row, if it is kept."""
        row = self.rows.get(key)
        if row is None:
            row = self._old.get(key)
            if row is not None:
                self.keep(name, key, row)
        return row

    def keep(self, name: memoryview, key: bytes, row: KeyState) -> None:
        """Keep a row that was read after the name was taken, if the cache still has that name."""
        if self._old:
            # Where not all fit, few of those that are asked for once are asked for again soon.
            self._passed += 1
            if self._passed % ADMIT_EVERY:
                return
        if len(row[2]) > MAX_STATE_BYTES or not self._take(False):
            return
        try:
            if self.name is name:
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
        began, known = self._told
        new = (superseded or "").removeprefix(known if began == since else "")
        *versions, rest = new.split(",")
        if superseded is None or rest or not all(map(str.isdecimal, versions)):
            self._drop_all()
            return
        self._told = since, superseded
        for version in map(int, versions):
            key = self._keys.get(version) or self._old_keys.get(version)
            if key is not None:
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        for rows, keys in ((self.rows, self._keys), (self._old, self._old_keys)):
            row = rows.pop(key, None)
            if row is not None:
                keys.pop(row[0], None)
