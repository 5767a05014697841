"""The row cache of a log: a cache for each topic, and the SELECT for the rows that it lacks."""

from __future__ import annotations

from functools import cache as memoized
from pathlib import Path
from time import monotonic
from typing import cast

import apsw

from sessionledger.logs.base import KeyState
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import connect_reader, identity
from sessionledger.logs.sqlite.readers import Reader, Readers
from sessionledger.logs.sqlite.row_cache.generations import Changes, TopicCache, reaches
from sessionledger.logs.sqlite.row_cache.wal_header import WalHeader

CHECK_FILE_SECONDS = 1.0

_NO_TOPIC = 0

_statement = memoized(queries.STATE_IF_CURRENT.format)
_with_changes = memoized(queries.STATE_AND_CHANGES.format)


class RowCache:
    """Answers what `Log.state` does, as far as one statement can tell it.

    A topic's cache is looked up without a lock. It may have been replaced, and then its header is
    no longer equal to anything.
    """

    def __init__(self, path: Path, readers: Readers) -> None:
        self._path = path
        self._readers = readers
        self._local = readers.local
        self._header = readers.add(WalHeader)
        self._topics: dict[str, TopicCache] = {}
        self._numbers: dict[str, int] = {}
        self._asked = False
        self._files: set[tuple[int, int]] = set()

    def state(self, topic: str, key: bytes) -> KeyState | None:
        """The row of the key. None if there is none, or the rows have yet to be folded.

        Every request comes through here. It answers from the cache, or by one statement; a refresh
        of the cache comes only after a change. Raises what SQLite does.
        """
        cache = self._topics.get(topic)
        if cache is None:
            return self._refreshed(topic, key)
        stamp = cache.stamp
        if cache.header == stamp and monotonic() < cache.until:
            return cache.rows.get(key) or self._found(cache, stamp, key)
        if cache.header != cache.unstamped:
            return self._refreshed(topic, key)
        return self._selected(cache, key)

    def _found(self, cache: TopicCache, stamp: memoryview, key: bytes) -> KeyState | None:
        """The row, from the older generation or by a statement."""
        found = cache.find(stamp, key)
        if found is None:
            found = self._selected(cache, key)
            if found is not None:
                cache.keep(stamp, key, found)
        return found

    def _selected(self, cache: TopicCache, key: bytes) -> KeyState | None:
        reader = self._local.reader or self._readers.mine()
        return cast(KeyState | None, reader.line(cache.statement, (key,)))

    def _refreshed(self, topic: str, key: bytes) -> KeyState | None:
        """The row, after a refresh of the topic's cache if one is due."""
        reader = self._local.reader or self._readers.mine()
        cache, number = self._of(topic), self.number(topic)
        if cache is None:
            return cast(KeyState | None, reader.line(_statement(number), (key,)))
        return _read(reader, cache, number, key)

    def _of(self, topic: str) -> TopicCache | None:
        """The cache of the topic, from the second read on: a single read pays nothing for it."""
        if not self._asked:
            self._asked = True
            return None
        header = self._header.header()
        if header is None:
            return None
        cache = self._topics.get(topic)
        if cache is None or cache.header is not header:
            cache = self._topics[topic] = TopicCache(header, _statement(self.number(topic)))
        if monotonic() >= cache.until:
            self._check_file()
            cache.until = monotonic() + CHECK_FILE_SECONDS
        return cache

    def know(self, topic: str, number: int) -> None:
        """That this is the topic's number in our tables."""
        self._numbers[topic] = number
        cache = self._topics.get(topic)
        if cache is not None:
            cache.statement = _statement(number)

    def number(self, topic: str) -> int:
        """The topic's number in our tables; that of no topic while it is not known."""
        return self._numbers.get(topic, _NO_TOPIC)

    def connect(self, vfs: str | None, until: float) -> apsw.Connection:
        """A connection that reads. Each of its calls waits for as long as there is until then."""
        self._check_file()
        connection = connect_reader(self._path, vfs, until)
        self._check_file()
        return connection

    def _check_file(self) -> None:
        """Keep no rows from here on if another file was put in the place of the ledger's.

        Then not all connections may be on one file, and the header of one says nothing about the
        others.
        """
        self._files.add(identity(self._path))
        if len(self._files) > 1:
            self._header.refuse()


def _read(reader: Reader, cache: TopicCache, number: int, key: bytes) -> KeyState | None:
    """The row. From one read to the next, the cache is brought up to the header's stamp."""
    stamp = cache.refresh()
    found = None if stamp is None else cache.find(stamp, key)
    if found is not None:
        return found
    refresh = cache.begin_refresh() if stamp is None else None
    line = reader.line(_with_changes(number), (key,))
    if line is None:
        return None
    row, changes = line[:3], line[3:]
    version, current = row[0], changes[0]
    if version is None or not current:
        return None
    if stamp is not None:
        cache.keep(stamp, key, row)
    elif refresh is not None:
        cache.note(refresh, _reaching(reader, number, refresh.seen, changes))
    return cast(KeyState, row)


def _reaching(reader: Reader, number: int, seen: int, changes: Changes) -> Changes:
    """Changes that include all since an event, if the database still knows them."""
    current, head, epoch, *_ = changes
    if head <= seen or reaches(changes, seen):
        return changes
    try:
        superseded = reader.line(queries.SUPERSEDED_BETWEEN, (number, seen, head))
    except apsw.SQLError:
        superseded = None  # without the links, which are not needed for the row
    return current, head, epoch, seen, head, superseded
