"""The mark that makes a backup of a ledger's file: no version of this package opens it as a ledger.

The number of its schema is above every number that a version knows. The rest of the number is the
schema that the file has.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import apsw

from sessionledger.errors import CorruptLog, NotALedger
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import BACKUP, translated_errors
from sessionledger.ownership import flush

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
        connection.execute(queries.WRITE_META, ("schema", BACKUP + queries.SCHEMA_VERSION))


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
        if schema <= BACKUP:
            raise NotALedger(f"{path.name} is no backup: `sessionledger backup` writes one")
        if connection.execute(_NO_ID, (_HIGHEST,)).fetchall():
            raise CorruptLog(f"{path.name} is damaged: an event of it has no valid id")
        connection.execute(queries.WRITE_META, ("schema", schema - BACKUP))


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
