"""The caches of a log, one for each topic, over the connection that they all rest on."""

from __future__ import annotations

import apsw

from sessionledger.logs.base import KeyState
from sessionledger.logs.sqlite.cache import CHANGES, Cache, Changes
from sessionledger.logs.sqlite.readers import Reader
from sessionledger.logs.sqlite.walindex import Pin


class Caches:
    """`by_topic` is looked into without a lock; a cache in it may be over, and then says so."""

    def __init__(self, pin: Pin) -> None:
        self.by_topic: dict[str, Cache] = {}
        self._pin = pin
        self._asked = False

    def read(self, reader: Reader, sql: str, topic: str, key: bytes) -> KeyState | None:
        """The row, from the cache of the topic if that can be settled, else by the statement.

        None where the statement finds nothing: nothing is kept then.
        """
        cache = self._of(topic)
        name = None if cache is None else cache.settle(lambda seen: _changes(reader, topic, seen))
        if cache is None or name is None:
            return reader.line(sql, (key,))  # type: ignore[no-any-return]
        found = cache.rows.get(key)
        if found is None:
            found = reader.line(sql, (key,))
            if found is not None:
                cache.keep(name, key, found)
        return found

    def _of(self, topic: str) -> Cache | None:
        """The cache of the topic, from the second read on: a command that reads once pays nothing."""
        if not self._asked:
            self._asked = True
            return None
        header = self._pin.header()
        if header is None:
            return None
        cache = self.by_topic.get(topic)
        if cache is None or cache.header is not header:
            cache = self.by_topic[topic] = Cache(header)
        return cache


def _changes(reader: Reader, topic: str, seen: int) -> Changes | None:
    try:
        return reader.line(CHANGES, (seen, topic))  # type: ignore[no-any-return]
    except apsw.Error:
        # Then the caller's own statement has its say.
        return None
