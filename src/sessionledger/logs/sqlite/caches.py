"""The caches of a log, one for each topic, over the connection that they all rest on."""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import apsw

from sessionledger.logs.base import KeyState
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.cache import CHANGES, MAX_SUPERSEDED, Cache
from sessionledger.logs.sqlite.connection import connect_reader
from sessionledger.logs.sqlite.readers import Reader
from sessionledger.logs.sqlite.walindex import Pin

LOOK_AGAIN_SECONDS = 1.0

# Finds nothing: for a topic whose number is not known yet.
_UNKNOWN = (0, queries.STATE_IF_CURRENT.format(0))


class Caches:
    """`by_topic` is looked into without a lock; a cache in it may be over, and then says so."""

    def __init__(self, path: Path, pin: Pin) -> None:
        self._path = path
        self.by_topic: dict[str, Cache] = {}
        self._known: dict[str, tuple[int, str]] = {}
        self._pin = pin
        self._asked = False
        self._files: set[tuple[int, int]] = set()

    def know(self, topic: str, number: int) -> None:
        """That this is the topic's number in our tables."""
        self._known[topic] = (number, queries.STATE_IF_CURRENT.format(number))
        cache = self.by_topic.get(topic)
        if cache is not None:
            _, cache.statement = self._known[topic]

    def number(self, topic: str) -> int:
        """The topic's number in our tables; that of no topic while it is not known."""
        number, _ = self._known.get(topic, _UNKNOWN)
        return number

    def read(self, reader: Reader, topic: str, key: bytes) -> KeyState | None:
        """The row, from the cache of the topic if that can be settled, else by the one statement.

        None where that finds nothing, since there is none or the rows are behind.
        """
        cache, name = self._settle(reader, topic)
        found = None if cache is None or name is None else cache.find(name, key)
        if found is None:
            _, statement = self._known.get(topic, _UNKNOWN)
            found = reader.line(statement, (key,))
            if found is not None and cache is not None and name is not None:
                cache.keep(name, key, found)
        return found

    def _settle(self, reader: Reader, topic: str) -> tuple[Cache | None, memoryview | None]:
        """The cache of the topic, and the name under which rows may be kept from now on."""
        cache = self._of(topic)
        unsettled = None if cache is None else cache.begin()
        if cache is None or unsettled is None:
            return None, None
        _, seen, name = unsettled
        try:
            changes = reader.line(CHANGES, (self.number(topic), seen, MAX_SUPERSEDED + 1))
        except apsw.SQLError:
            # A table of ours is missing that the row itself does not need.
            return None, None
        settled = changes is not None and cache.settle(unsettled, changes)
        return cache, name if settled else None

    def connect(self, vfs: str | None) -> apsw.Connection:
        """A connection that reads."""
        self._look_for_the_file()
        connection = connect_reader(self._path, vfs)
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
            _, statement = self._known.get(topic, _UNKNOWN)
            cache = self.by_topic[topic] = Cache(header, statement)
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
