"""The caches of a log, one for each topic, over the connection that they all rest on."""

from __future__ import annotations

from functools import cache as memoized
from pathlib import Path
from time import monotonic
from typing import cast

import apsw

from sessionledger.logs.base import KeyState
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import connect_reader, identity
from sessionledger.logs.sqlite.readers import Reader
from sessionledger.logs.sqlite.row_cache.generations import Cache, News, reaches
from sessionledger.logs.sqlite.row_cache.wal_header import Pin

LOOK_AGAIN_SECONDS = 1.0

_NO_TOPIC = 0

_statement = memoized(queries.STATE_IF_CURRENT.format)
_with_news = memoized(queries.STATE_AND_NEWS.format)


class Caches:
    """`by_topic` is looked into without a lock; a cache in it may be over, and then says so."""

    def __init__(self, path: Path, pin: Pin) -> None:
        self._path = path
        self.by_topic: dict[str, Cache] = {}
        self._known: dict[str, int] = {}
        self._pin = pin
        self._asked = False
        self._files: set[tuple[int, int]] = set()

    def know(self, topic: str, number: int) -> None:
        """That this is the topic's number in our tables."""
        self._known[topic] = number
        cache = self.by_topic.get(topic)
        if cache is not None:
            cache.statement = _statement(number)

    def number(self, topic: str) -> int:
        """The topic's number in our tables; that of no topic while it is not known."""
        return self._known.get(topic, _NO_TOPIC)

    def read(self, reader: Reader, topic: str, key: bytes) -> KeyState | None:
        """The row, from the cache of the topic if that can be settled, else by the one statement.

        None where that finds nothing, since there is none or the rows are behind.
        """
        cache, number = self._of(topic), self.number(topic)
        if cache is None:
            return cast(KeyState | None, reader.line(_statement(number), (key,)))
        return _read(reader, cache, number, key)

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
        self._files.add(identity(self._path))
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
            cache = self.by_topic[topic] = Cache(header, _statement(self.number(topic)))
        if monotonic() >= cache.until:
            self._look_for_the_file()
            cache.until = monotonic() + LOOK_AGAIN_SECONDS
        return cache


def _read(reader: Reader, cache: Cache, number: int, key: bytes) -> KeyState | None:
    """The row; and from one read to the next, the cache comes to have the header's name."""
    name = cache.settle(key)
    found = None if name is None else cache.find(name, key)
    if found is not None:
        return found
    unsettled = cache.begin() if name is None else None
    line = reader.line(_with_news(number), (key,))
    if line is None:
        return None
    row, news = line[:3], line[3:]
    version, current = row[0], news[0]
    if version is None or not current:
        return None
    if name is not None:
        cache.keep(name, key, row)
    elif unsettled is not None:
        cache.learn(unsettled, _reaching(reader, number, unsettled[1], news))
    return cast(KeyState, row)


def _reaching(reader: Reader, number: int, seen: int, news: News) -> News:
    """News that tell all that happened since an event, if that can be told."""
    current, head, epoch, *_ = news
    if head <= seen or reaches(news, seen):
        return news
    try:
        superseded = reader.line(queries.SUPERSEDED_BETWEEN, (number, seen, head))
    except apsw.SQLError:
        superseded = None  # without the links, which are not needed for the row
    return current, head, epoch, seen, head, superseded
