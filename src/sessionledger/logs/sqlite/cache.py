"""Rows as they were read, for as long as nothing tells that they are old.

One cache holds rows of one topic, with the name of the state of the database that they are right
in. While the header of the WAL-index still has that name, they answer without asking SQLite.

When it has another, and keeps it for two reads, one statement tells what happened since: which
versions were superseded, told by the last write itself, or by the link to the one before that each
event of a key left. They are dropped. Whatever rewrites rows without an event begins another epoch,
and everything is dropped. The first read after a change is done without the cache: after a commit
SQLite has to read its pages anew, and those of the row alone are fewer.

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
from sessionledger.logs.sqlite.walindex import name_in

MAX_ROWS = 16_384
"""Of each generation: when there are so many, they become the old ones, and the old ones go. A row
that is asked for becomes young again."""
MAX_STATE_BYTES = 2048
ADMIT_EVERY = 8
"""Once there are two generations, so many reads of rows that are not kept lead to one that is."""
MAX_SUPERSEDED = 256

Changes: TypeAlias = tuple[int, int, int, str | None]
"""Whether the rows are folded up to the head, the head, the epoch, and versions with commas
between."""

# For a topic's number, an event, and at most so many versions. Mostly it was one write since that
# event, whose news stands in the line itself; otherwise the links are walked.
CHANGES = """SELECT head = folded, head, epoch, CASE
    WHEN head = ?2 THEN NULL
    WHEN since = ?2 AND until = head AND superseded IS NOT NULL THEN superseded
    ELSE (SELECT group_concat(previous) FROM (SELECT previous FROM ledger_links
        WHERE topic = ?1 AND event_id > ?2 LIMIT ?3)) END
    FROM ledger_topics WHERE id = ?1"""

Unsettled: TypeAlias = tuple[memoryview | None, int, memoryview]
"""The name and the event up to which the cache was settled, and the name that it may have next."""


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
        self._glimpsed = b""
        self._seen = 0
        self._passed = 0
        self._epoch: int | None = None
        lock = threading.Lock()
        self._take, self._give = lock.acquire, lock.release

    def begin(self) -> Unsettled | None:
        """What to settle by asking what happened since; None if it is not to be settled now."""
        before, seen = self.name, self._seen
        try:
            header = self.header.tobytes()
        except ValueError:
            return None
        if header != self._glimpsed:
            self._glimpsed = header
            return None
        name = name_in(header)
        if name is None:
            self.nameless = memoryview(header).cast("Q")
            return None
        return before, seen, name

    def settle(self, unsettled: Unsettled, changes: Changes) -> bool:
        """From one name to the next, if nobody else was faster and the rows are folded."""
        before, seen, name = unsettled
        current, head, epoch, superseded = changes
        if not current:
            return False
        if not self._take(False):
            return False
        try:
            if self.name is not before or self._seen != seen:
                return False
            if epoch != self._epoch or head < seen:
                self._drop_all()
            else:
                self._drop_versions(superseded.split(",") if superseded else [])
            self._seen, self._epoch = head, epoch
            self.name = name
            return True
        finally:
            self._give()

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

    def _drop_versions(self, versions: list[str]) -> None:
        if len(versions) > MAX_SUPERSEDED or not all(map(str.isdecimal, versions)):
            self._drop_all()
            return
        for version in map(int, versions):
            key = self._keys.get(version) or self._old_keys.get(version)
            if key is not None:
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        for rows, keys in ((self.rows, self._keys), (self._old, self._old_keys)):
            row = rows.pop(key, None)
            if row is not None:
                keys.pop(row[0], None)
