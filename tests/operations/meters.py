"""What a log asks of its database and of the file system, counted where it asks."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from unittest.mock import patch
from urllib.parse import quote

import apsw
import psycopg
from psycopg.pq import Trace

from sessionledger import Log, open_log
from sessionledger.logs.file import FileLog
from sessionledger.logs.sqlite import SQLiteLog

COUNTED = ("statements", "trips", "flushes", "written", "pages")
SQLITE_PAGE_BYTES = 4096


class Place(NamedTuple):
    """A folder that is empty, and a PostgreSQL server that has nothing else to do."""

    folder: Path
    server: str


class Meter(Protocol):
    """A ledger of its own, and the totals of what is done to it."""

    url: str

    def __init__(self, at: Place, stack: ExitStack) -> None: ...

    def open(self) -> Log:
        """The log, counted."""
        ...

    def read(self) -> dict[str, float]:
        """The totals so far."""
        ...


class Memory:
    """A log that asks nobody."""

    url = "memory:"

    def __init__(self, at: Place, stack: ExitStack) -> None: ...

    def open(self) -> Log:
        return open_log(self.url)

    def read(self) -> dict[str, float]:
        return {}


class File:
    """Counts what Python's `os` is asked for."""

    def __init__(self, at: Place, stack: ExitStack) -> None:
        self._path, self._stack = at.folder / "ledger", stack
        self.url = f"file://{quote(str(self._path))}"
        self._totals = {"flushes": 0.0, "written": 0.0}

    def open(self) -> Log:
        for name in ("write", "pwrite"):
            self._count(name, "written", lambda done: done)
        for name in ("fsync", "fdatasync"):
            self._count(name, "flushes", lambda _: 1)
        return FileLog(self._path, sync=os.fdatasync)

    def read(self) -> dict[str, float]:
        return dict(self._totals)

    def _count(self, name: str, column: str, share: Callable[[Any], int]) -> None:
        real = getattr(os, name)

        def counting(*given: Any) -> Any:
            answer = real(*given)
            self._totals[column] += share(answer)
            return answer

        self._stack.enter_context(patch.object(os, name, counting))


class SQLite:
    """Counts the statements of every connection, and what SQLite asks of the file system."""

    def __init__(self, at: Place, stack: ExitStack) -> None:
        self._path, self._stack = at.folder / "sessions.db", stack
        self.url = f"sqlite:///{quote(str(self._path))}"
        self._statements = 0
        self._files = _Files()

    def open(self) -> Log:
        apsw.connection_hooks.append(self._watch)
        self._stack.callback(apsw.connection_hooks.remove, self._watch)
        return SQLiteLog(self._path, vfs=_Files.name)

    def read(self) -> dict[str, float]:
        return {"statements": self._statements, **self._files.totals}

    def _watch(self, connection: apsw.Connection) -> None:
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, self._trace)

    def _trace(self, told: dict[str, Any]) -> None:
        self._statements += not told["trigger"]


class _Files(apsw.VFS):
    name = "counting"

    def __init__(self) -> None:
        super().__init__(self.name, "")
        self.totals = {"flushes": 0.0, "written": 0.0, "pages": 0.0}

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(self.totals, name, flags)


class _File(apsw.VFSFile):
    def __init__(self, totals: dict[str, float], name: Any, flags: list[int]) -> None:
        super().__init__("", name, flags)
        self._totals = totals
        self._is_wal = bool(flags[0] & apsw.SQLITE_OPEN_WAL)

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._totals["written"] += len(data)
        self._totals["pages"] += self._is_wal and len(data) == SQLITE_PAGE_BYTES
        super().xWrite(data, offset)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._totals["flushes"] += 1
        super().xSync(flags)


_SERVER_TOTALS = """SELECT pg_current_wal_insert_lsn() - '0/0', (SELECT sum(fsyncs) FROM pg_stat_io
    WHERE object = 'wal' AND backend_type = 'client backend')"""


class PostgreSQL:
    """Reads the messages that libpq traces, and asks the server what it wrote."""

    def __init__(self, at: Place, stack: ExitStack) -> None:
        self.url = f"{at.server}&schema=at_{os.urandom(8).hex()}"
        self._server = stack.enter_context(psycopg.connect(at.server, autocommit=True))
        self._trace = (at.folder / "trace").open("w+b")
        stack.callback(self._trace.close)

    def open(self) -> Log:
        return open_log(self.url)

    def read(self) -> dict[str, float]:
        for connection in self._connections():
            connection.untrace()
            connection.exec_(b"SELECT pg_stat_force_next_flush()")
        ((written, flushes),) = self._server.execute(_SERVER_TOTALS).fetchall()
        self._trace.seek(0)
        told = [line.split(b"\t") for line in self._trace.read().splitlines()]
        ways = [line[0] for line in told]
        for connection in self._connections():
            connection.trace(self._trace.fileno())
            connection.set_trace_flags(Trace.SUPPRESS_TIMESTAMPS)
        return {
            "statements": sum(line[2] in (b"Execute", b"Query") for line in told),
            "trips": sum(pair == (b"F", b"B") for pair in pairwise(ways)),
            "flushes": float(flushes),
            "written": float(written),
        }

    def _connections(self) -> list[Any]:
        """Those of the log, which keeps them to itself."""
        every = [one for one in gc.get_objects() if issubclass(type(one), psycopg.Connection)]
        others = [one for one in every if not one.closed and one is not self._server]
        return [one.pgconn for one in others if one.info.host == self._server.info.host]


METERS: dict[str, type[Meter]] = {
    "memory": Memory,
    "file": File,
    "sqlite": SQLite,
    "postgresql": PostgreSQL,
}
