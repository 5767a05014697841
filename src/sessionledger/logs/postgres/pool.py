"""A pool of connections: as many as threads that read and write at the same moment, and no more.

A connection of the pool may have been lost meanwhile, for instance by a restart of the server. Then
a read is repeated on a new one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

import psycopg

from sessionledger.logs.concurrency.forking import untouchable
from sessionledger.logs.postgres.connection import Address, Connection, connect, connections

T = TypeVar("T")

POOL_SIZE = 16


class Pool:
    """A caller takes the connection that was used last, and gives it back.

    Taking and giving are one step each, which no thread and no signal can divide.
    """

    def __init__(
        self, address: Address, durability: str, timeout: float, check: Callable[[], None]
    ) -> None:
        self._address = address
        self._is_relaxed = durability == "normal"
        self._timeout = timeout
        self._check = check
        self._kept: deque[Connection] = deque(maxlen=POOL_SIZE)
        self._closed = False

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do work that only reads, and repeat it if a pooled connection was lost."""
        connection = self._pooled()
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
        """A connection that nobody uses."""
        return self._pooled() or self.new()

    def new(self) -> Connection:
        """A new connection. Raises what psycopg does."""
        self._check()
        return connect(self._address, is_relaxed=self._is_relaxed, timeout=self._timeout)

    def give(self, connection: Connection) -> None:
        """Keep it for others if it is idle; otherwise close it."""
        full = self._closed or len(self._kept) >= POOL_SIZE
        if full or connection.is_lost or not connection.is_idle:
            connection.close()
        else:
            self._kept.append(connection)

    def forget(self) -> None:
        """Close all that are pooled, as one of them was lost."""
        while (connection := self._pop()) is not None:
            connection.close()

    def close(self) -> None:
        """Close all that are pooled, and each that is given back."""
        self._closed = True
        self.forget()

    def begin_in_child(self) -> None:
        """Leave the parent's connections alone, and end those that are in use in this process."""
        inherited = list(connections)
        untouchable.append(inherited)
        for connection in inherited:
            connection.cut()
            connections.discard(connection)
        self._kept = deque(maxlen=POOL_SIZE)

    def _pooled(self) -> Connection | None:
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
