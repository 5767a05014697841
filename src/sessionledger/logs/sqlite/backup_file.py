"""The mark that makes a backup of a ledger's file: no version of this package opens it as a ledger.

The number of its schema is above every number that a version knows. The rest of the number is the
schema that the file has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import apsw

from sessionledger.errors import CorruptLog, LogUnavailable, NotALedger
from sessionledger.logs.base import Log
from sessionledger.logs.compaction.contract import UNOPENED
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import companions, translated_errors
from sessionledger.logs.sqlite.log import SQLiteLog
from sessionledger.ownership import flush, resolved

_HIGHEST = 2**62
"""Leaves room for the ids after the restore."""

_NO_ID = """
    SELECT 1 FROM (
        SELECT last_id AS id FROM topic_heads UNION ALL SELECT event_id FROM events
        UNION ALL SELECT cut FROM ledger_topics
    ) WHERE typeof(id) <> 'integer' OR id > ? LIMIT 1
"""


def mark(path: Path) -> None:
    """Make a backup of a ledger's file. The `SQLiteLog` that has it open goes on."""
    with translated_errors(path), closing(_connect(path)) as connection:
        connection.execute(queries.WRITE_META, ("schema", UNOPENED + queries.SCHEMA_VERSION))


def finish(path: Path) -> None:
    """Put all of a backup that nobody has open into one file, and flush it."""
    with _opened(path):
        pass
    flush(path)


def unmark(path: Path) -> None:
    """Make a ledger of a backup again. Raises `NotALedger` for any other file, and
    `CorruptLog` for one in which something other than a number is an id."""
    with _opened(path) as connection:
        schema = _schema(connection)
        if schema <= UNOPENED:
            raise NotALedger(f"{path.name} is no backup: `sessionledger backup` writes one")
        if connection.execute(_NO_ID, (_HIGHEST,)).fetchall():
            raise CorruptLog(f"{path.name} is damaged: an event of it has no valid id")
        connection.execute(queries.WRITE_META, ("schema", schema - UNOPENED))


class StagedFile:
    """As `Staged`: a file beside that of its address."""

    def __init__(self, path: Path) -> None:
        self._path = resolved(path)
        self._draft = self._path.with_name(f".{self._path.name}.copy")
        self.location = f"sqlite:///{quote(str(self._path))}"

    def is_there(self) -> bool:
        return self._draft.exists()

    def open(self) -> Log:
        self._refuse()
        self._unmark()
        log = SQLiteLog(self._draft)
        mark(self._draft)
        return log

    def put(self) -> None:
        self._refuse()
        self._unmark()
        finish(self._draft)
        with translated_errors(self._path):
            self._draft.rename(self._path)
            flush(self._path.parent)
            for left in companions(self._draft):
                left.unlink(missing_ok=True)

    def _refuse(self) -> None:
        with translated_errors(self._path):
            if self._path.exists():
                raise LogUnavailable(f"{self._path} exists: name a file that does not")

    def _unmark(self) -> None:
        # Another copy may have been killed while the file had no mark.
        with suppress(NotALedger):
            if self.is_there():
                unmark(self._draft)


@contextmanager
def _opened(path: Path) -> Iterator[apsw.Connection]:
    """The file without a write-ahead log, so that all of it is in one file."""
    with translated_errors(path), closing(_connect(path)) as connection:
        connection.pragma("journal_mode", "delete")
        yield connection


def _connect(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)


def _schema(connection: apsw.Connection) -> int:
    try:
        return int(str(connection.execute(queries.READ_META, ("schema",)).fetchall()[0][0]))
    except (apsw.SQLError, IndexError, ValueError):
        return 0
