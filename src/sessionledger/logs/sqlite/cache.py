"""Rows as they were read, for as long as nothing tells that they are old.

One cache holds rows of one topic, with the name of the state of the database that they are right
in. While the header of the WAL-index still has that name, they answer without asking SQLite.

When it has another, one statement tells what happened since: each event of a key that had one
before left a link to it, and so the versions that were superseded are known, and dropped. Whatever
rewrites rows without an event begins another epoch, and everything is dropped.

The order is what makes it right, and `tests/logs/sqlite/test_cache_model.py` walks all of them:

1. The name is taken before the statement whose rows are kept under it, and only while the header
   is whole. Rows may then be newer than the name, and never older.
2. A row is kept, and the cache given another name, only if its name is still the one from before
   the statement: under a lock that is not held while SQLite works.
3. What is dropped is dropped before the new name is there.
4. A key that has no row is not remembered: who creates it leaves no link.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from sessionledger.logs.base import KeyState
from sessionledger.logs.sqlite.walindex import name_in

MAX_ROWS = 16_384
MAX_STATE_BYTES = 4096
MAX_SUPERSEDED = 256

Changes: TypeAlias = tuple[int, int, int | None, str | None]
"""Whether the rows are folded up to the head, the head, the epoch, and versions with commas
between."""

CHANGES = f"""SELECT head = folded, head, (SELECT value FROM ledger_meta WHERE name = 'epoch'),
    (SELECT group_concat(previous) FROM (SELECT previous FROM ledger_links
        WHERE topic = ledger_topics.id AND event_id > ? LIMIT {MAX_SUPERSEDED + 1}))
    FROM ledger_topics WHERE topic = ?"""


class Cache:
    """Rows of one topic. `header`, `name` and `rows` are looked at without a lock."""

    def __init__(self, header: memoryview) -> None:
        self.header = header
        self.name: memoryview | None = None
        self.rows: dict[bytes, KeyState] = {}
        self._keys: dict[int, bytes] = {}
        self._seen = 0
        self._epoch: int | None = None
        self._lock = threading.Lock()

    def settle(self, changes: Callable[[int], Changes | None]) -> memoryview | None:
        """The name under which rows that are read from now on may be kept, None if none may.

        `changes` asks the database what happened after an event, in one statement.
        """
        before, seen = self.name, self._seen
        name = name_in(self.header)
        if name is None or name == before:
            return None if name is None else before
        found = changes(seen)
        if found is None or not found[0]:
            return None
        with self._lock:
            if self.name is not before or self._seen != seen:
                return None
            self._drop_superseded(found)
            _, self._seen, self._epoch, _ = found
            self.name = name
        return name

    def keep(self, name: memoryview, key: bytes, row: KeyState) -> None:
        """Keep a row that was read after `settle` gave the name."""
        if len(row[2]) > MAX_STATE_BYTES:
            return
        with self._lock:
            if self.name is not name:
                return
            self._drop(key)
            if len(self.rows) >= MAX_ROWS:
                self._drop(next(iter(self.rows)))
            # In this order: a signal may raise in between, and no row may be without its version.
            self._keys[row[0]] = key
            self.rows[key] = row

    def _drop_superseded(self, changes: Changes) -> None:
        _, head, epoch, superseded = changes
        versions = superseded.split(",") if superseded else []
        if epoch != self._epoch or head < self._seen or len(versions) > MAX_SUPERSEDED:
            self.rows.clear()
            self._keys.clear()
            return
        for version in versions:
            key = self._keys.get(int(version))
            if key is not None:
                self._drop(key)

    def _drop(self, key: bytes) -> None:
        row = self.rows.pop(key, None)
        if row is not None:
            self._keys.pop(row[0], None)
