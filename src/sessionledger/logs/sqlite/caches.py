"""The caches of a log, one for each topic, over the connection that they all rest on."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import apsw

from sessionledger.logs.base import KeyState
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.cache import CHANGES, MAX_SUPERSEDED, Cache, Changes
from sessionledger.logs.sqlite.connection import connect
from sessionledger.logs.sqlite.readers import Reader
from sessionledger.logs.sqlite.walindex import Pin

LOOK_AGAIN_SECONDS = 1.0

# Finds nothing: for a topic whose number is not known yet.
_NO_STATE = queries.STATE_IF_CURRENT.format(0)


class Caches:
    """`by_topic` is looked into without a lock; a cache in it may be over, and then says so."""

    def __init__(self, path: Path, pin: Pin) -> None:
        self._path = path
        self.by_topic: dict[str, Cache] = {}
        self._statements: dict[str, str] = {}
        self._pin = pin
        self._asked = False
        self._files: set[tuple[int, int]] = set()

    def know(self, topic: str, number: int) -> None:
        """That this is the topic's number in our tables."""
        self._statements[topic] = queries.STATE_IF_CURRENT.format(number)

    def read(self, reader: Reader, topic: str, key: bytes) -> KeyState | None:
        """The row, from the cache of the topic if that can be settled, else by the one statement.

        None where that finds nothing, since there is none or the rows are behind.
        """
        sql = self._statements.get(topic, _NO_STATE)
        cache = self.by_topic.get(topic)
        name = None if cache is None else cache.name
        if cache is None or cache.header != name or monotonic() >= cache.until:
            cache, name = self._settled(reader, topic)
        if cache is None or name is None:
            return reader.line(sql, (key,))  # type: ignore[no-any-return]
        found = cache.find(name, key)
        if found is None:
            found = reader.line(sql, (key,))
            if found is not None:
                cache.keep(name, key, found)
        return found

    def _settled(self, reader: Reader, topic: str) -> tuple[Cache | None, memoryview | None]:
        """The cache of the topic, and the name under which rows may be kept in it from now on."""
        cache = self._of(topic)
        if cache is None:
            return None, None
        return cache, cache.settle(lambda seen: _changes(reader, topic, seen))

    def connect(self, vfs: str | None) -> apsw.Connection:
        """A connection that reads."""
        self._look_for_the_file()
        connection = connect(self._path, vfs)
        self._look_for_the_file()
        return connection

    def _look_for_the_file(self) -> None:
        """If another file was put in the place of the one that was opened, not all connections may
        be on one: the header of one says nothing about the others, and no rows are kept any more.
        """
        self._files.add(_identity(self._path))
        if len(self._files) > 1:
            self._pin.refuse()

    def _of(self, topic: str) -> Cache | None:
        """The cache of the topic, from the second read on: who reads once pays nothing for it."""
        if not self._asked:
            self._asked = True
            return None
        header = self._pin.header()
        if header is None:
            return None
        cache = self.by_topic.get(topic)
        if cache is None or cache.header is not header:
            cache = self.by_topic[topic] = Cache(header)
        if monotonic() >= cache.until:
            self._look_for_the_file()
            cache.until = monotonic() + LOOK_AGAIN_SECONDS
        return cache


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return found.st_dev, found.st_ino


def _changes(reader: Reader, topic: str, seen: int) -> Changes | None:
    try:
        return reader.line(CHANGES, (topic, seen, MAX_SUPERSEDED + 1))  # type: ignore[no-any-return]
    except apsw.Error:
        # Then the caller's own statement has its say.
        return None
