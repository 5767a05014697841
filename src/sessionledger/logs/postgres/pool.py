"""Connections that are kept: as many as threads read and write at the same moment, and no more.

A connection that was kept may have been lost meanwhile, when the server was started anew, say. What
only reads is asked again on a new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

import psycopg

from sessionledger.logs.concurrency.forking import untouchable
from sessionledger.logs.postgres.connection import Connection, Place, connect, connections

T = TypeVar("T")

KEPT = 16


class Connections:
    """Whoever needs one takes the one that was used last, and gives it back.

    Taking and giving are one step each, which no thread and no signal can be in the middle of.
    """

    def __init__(self, place: Place, durability: str, check: Callable[[], None]) -> None:
        self._place = place
        self._is_relaxed = durability == "normal"
        self._check = check
        self._kept: deque[Connection] = deque(maxlen=KEPT)
        self._closed = False

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do what only reads, and do it again where a kept connection was lost."""
        connection = self._one_that_is_kept()
        if connection is None:
            return self._use(self.new(), work)
        try:
            return self._use(connection, work)
        except psycopg.Error:
            if not connection.is_lost:
                raise
        self.forget()
        return self._use(self.new(), work)

    def take(self) -> Connection:
        """One that nobody uses."""
        return self._one_that_is_kept() or self.new()

    def new(self) -> Connection:
        """One that was not used before. Raises what psycopg does."""
        self._check()
        return connect(self._place, is_relaxed=self._is_relaxed)

    def give(self, connection: Connection) -> None:
        """Keep it for others, if it is in the middle of nothing; otherwise it is closed."""
        full = self._closed or len(self._kept) >= KEPT
        if full or connection.is_lost or not connection.is_idle:
            connection.close()
        else:
            self._kept.append(connection)

    def forget(self) -> None:
        """Close those that are kept, as one of them was lost."""
        while (connection := self._pop()) is not None:
            connection.close()

    def close(self) -> None:
        """Close those that are kept, and each that is given back."""
        self._closed = True
        self.forget()

    def begin_in_child(self) -> None:
        """Leave those of the parent alone, and end what of them may be in use here."""
        inherited = list(connections)
        untouchable.append(inherited)
        for connection in inherited:
            connection.cut()
            connections.discard(connection)
        self._kept = deque(maxlen=KEPT)

    def _one_that_is_kept(self) -> Connection | None:
        self._check()
        return self._pop()

    def _pop(self) -> Connection | None:
        try:
            return self._kept.pop()
        except IndexError:
            return None

    def _use(self, connection: Connection, work: Callable[[Connection], T]) -> T:
        try:
            return work(connection)
        finally:
            self.give(connection)
