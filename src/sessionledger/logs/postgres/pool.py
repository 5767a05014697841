"""A pool of connections, of which a process never has more than it was given.

Who finds all of them in use waits for one that is given back. A connection of the pool may have
been lost meanwhile, for instance by a restart of the server. Then a read is repeated on another.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TypeVar
from weakref import WeakSet

import psycopg

from sessionledger.errors import LogTimeout
from sessionledger.logs.concurrency.forking import untouchable
from sessionledger.logs.concurrency.greenlets import check_patched
from sessionledger.logs.concurrency.locks import Permit
from sessionledger.logs.postgres.connection import Connection
from sessionledger.logs.postgres.handshake import in_time

T = TypeVar("T")

_PAUSE_SECONDS = 0.02
_MORE_SECONDS = 1.0
"""How long somebody waits for one more connection from a server that lends some."""
_REFUSED_SECONDS = 5.0
"""How long nobody asks for one more connection from a server that refused it."""


class Pool:
    """A caller takes the connection that was used last, and gives it back."""

    def __init__(
        self, connect: Callable[[float], Connection], size: int, check: Callable[[], None]
    ) -> None:
        """connect: makes a connection until a time; check: raises what nobody may go on after."""
        self._connect = connect
        self._size = size
        self._check = check
        self._closed = False
        self._begin()

    def _begin(self) -> None:
        # There are never more connections than permits. A caller makes one only with a permit,
        # and if none is idle. It gives the connection back before the permit.
        self._idle: deque[Connection] = deque()
        self._open: WeakSet[Connection] = WeakSet()
        self._permits: SimpleQueue[None] = SimpleQueue()
        for _ in range(self._size):
            self._permits.put(None)
        self._refused_until = 0.0

    def read(self, work: Callable[[Connection], T], until: float) -> T:
        """Do work that only reads, and repeat it if a pooled connection was lost."""
        while True:
            permit = Permit(self._permits)
            try:
                connection = self._taken(permit, until)
                try:
                    return work(connection)
                except psycopg.Error:
                    if not connection.is_lost:
                        raise
                    self.forget()
                    if connection.is_fresh or time.monotonic() >= until:
                        raise
                finally:
                    self._give(connection)
            finally:
                permit.give_back()

    @contextmanager
    def lent(self, until: float) -> Iterator[Connection]:
        """A connection that nobody else uses, which waits for answers until then.

        Raises `LogTimeout` if all are in use, and what psycopg does.
        """
        permit = Permit(self._permits)
        try:
            connection = self._taken(permit, until)
            try:
                yield connection
            finally:
                self._give(connection)
        finally:
            permit.give_back()

    def _taken(self, permit: Permit, until: float) -> Connection:
        self._check()
        check_patched()
        try:
            permit.take(max(0.0, until - time.monotonic()))
            connection = self._found(until)
        except Empty:
            raise LogTimeout(
                f"all connections to the server are in use, at most {self._size}, and the time to "
                "wait for one is over; nothing was written. Open the ledger with a larger "
                "pool_size, or a longer timeout"
            ) from None
        connection.wait_until(until)
        return connection

    def _found(self, until: float) -> Connection:
        """An idle one, or a new one. If the server lends no more, one that others give back."""
        while True:
            if (connection := self._popped()) is not None:
                return connection
            now = time.monotonic()
            if not self._open or now >= self._refused_until:
                late = min(until, now + _MORE_SECONDS) if self._open else until
                try:
                    connection = in_time(self._connect, late)
                except psycopg.OperationalError:
                    self._refused_until = time.monotonic() + _REFUSED_SECONDS
                    if not self._open or time.monotonic() >= until:
                        raise
                else:
                    self._open.add(connection)
                    return connection
            elif now >= until:
                raise Empty
            time.sleep(_PAUSE_SECONDS)

    def _give(self, connection: Connection) -> None:
        """Keep it for others if it is idle; otherwise close it."""
        if self._closed or connection.is_lost or not connection.is_idle:
            self._hang_up(connection)
        else:
            connection.is_fresh = False
            self._idle.append(connection)

    def forget(self) -> None:
        """Close all that are pooled, as one of them was lost."""
        while (connection := self._popped()) is not None:
            self._hang_up(connection)

    def close(self) -> None:
        """Close all that are pooled, and each that is given back."""
        self._closed = True
        self.forget()

    def begin_in_child(self) -> None:
        """Leave the parent's connections alone, and end those that are in use in this process."""
        inherited = list(self._open)
        untouchable.append(inherited)
        for connection in inherited:
            connection.cut()
        self._begin()

    def _hang_up(self, connection: Connection) -> None:
        connection.close()
        self._open.discard(connection)

    def _popped(self) -> Connection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None
