"""Opening the file: what must hold before a connection is used, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic
from typing import Any, TypeAlias
from urllib.parse import quote

import apsw

from sessionledger.errors import (
    CorruptLog,
    LogTimeout,
    LogUnavailable,
    NotALedger,
    UnsupportedSchema,
)
from sessionledger.logs.compaction.contract import UNOPENED, refuse_moved
from sessionledger.logs.concurrency.reentrancy import still_writing
from sessionledger.logs.embedded.filesystem import check_is_local
from sessionledger.logs.sqlite import checkpoints, queries
from sessionledger.logs.sqlite.row_cache import epoch
from sessionledger.ownership import check_companion, check_ledger, flush, holder_of, owner_of

Execute: TypeAlias = Callable[..., Iterable[Any]]

NO_FILE = (0, 0)
MAINTENANCE = "-maintenance"
"""The end of the name of the lock file of compactions and rebuilds."""
MMAP_BYTES = 1 << 30

# What a long read made the write-ahead log grow by is given back once it is over.
WAL_BYTES = 2 * checkpoints.LONGEST * 4096
READER_CACHE_KIB = 8 * 1024

SYNCHRONOUS = {"full": "FULL", "normal": "NORMAL"}

# One thread uses a connection at a time, so SQLite need not lock it once more.
_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_URI | apsw.SQLITE_OPEN_NOMUTEX


_NOT_PERMITTED = (apsw.CantOpenError, apsw.PermissionsError, apsw.ReadOnlyError, PermissionError)


@contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Turn SQLite's and the system's errors into ours, which name the file and what to do."""
    try:
        yield
    except apsw.NotADBError:
        raise NotALedger(f"{path} is not a SQLite database; it was left as it is") from None
    except (apsw.CorruptError, apsw.SchemaChangeError) as error:
        raise CorruptLog(f"{path} is damaged: {error}; run `sessionledger doctor`") from error
    except apsw.FullError as error:
        raise LogUnavailable(f"the disk of {path} is full; nothing was written") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise LogTimeout(still_writing(holder_of(companions(path)[1]), path)) from error
    except _NOT_PERMITTED as error:
        raise LogUnavailable(f"{path} can't be opened for writing: {why_not(path)}") from error
    except (apsw.Error, OSError) as error:
        if isinstance(error, OSError) and error.errno is None:
            raise  # not the system's: a signal handler raised it
        refuse_moved(str(error))
        raise LogUnavailable(f"{path}: {error}") from error
    except UnicodeEncodeError:
        raise LogUnavailable(f"{str(path)!a} is no path in UTF-8: name another one") from None


@contextmanager
def translated_errors_of_reader(path: Path) -> Iterator[None]:
    """The same for a reader, which needs fewer permissions."""
    with translated_errors(path):
        try:
            yield
        except _NOT_PERMITTED as error:
            raise LogUnavailable(
                f"{path} can't be read: it takes permission to read it and, as long as somebody "
                f"has it open, {path.name}-wal and {path.name}-shm. If a crash left those behind, "
                "a user with write permission has to open it once"
            ) from error


def why_not(path: Path) -> str:
    """Why a file could not be opened, as far as can be told from outside."""
    try:
        return _obstacle(path)
    except OSError as error:
        return f"{error.strerror}: {path.parent}"


def _obstacle(path: Path) -> str:
    parent = path.parent
    if not parent.exists():
        return f"the folder {parent} does not exist or can't be reached"
    if not parent.is_dir():
        return f"{parent} is not a folder"
    if path.is_dir():
        return "it is a folder"
    for one in (path, *companions(path), parent):
        if one.exists() and not os.access(one, os.R_OK | os.W_OK):
            return f"no permission to read and write {one}, which user {one.stat().st_uid} owns"
    return "the system refused"


def check_location(path: Path) -> None:
    """Raises `LogUnavailable` for a path on which no ledger can be kept safely."""
    if not path.parent.is_dir() or path.is_dir():
        raise LogUnavailable(f"{path} can't be opened for writing: {why_not(path)}")
    check_is_local(path)


def identity(path: Path | str) -> tuple[int, int]:
    """Which file stands at the path now."""
    try:
        found = os.stat(path)  # noqa: PTH116  half as fast with a Path
    except FileNotFoundError:
        return NO_FILE
    return found.st_dev, found.st_ino


def companions(path: Path) -> list[Path]:
    """The files beside a database: its write-ahead log, the index of that, a journal, our locks."""
    ends = ("-wal", "-shm", "-journal", "-lock", MAINTENANCE)
    return [path.with_name(path.name + end) for end in ends]


def check_files(path: Path) -> None:
    """Raises `LogUnavailable` for a database that others may change, by a companion if need be.

    What stands in a write-ahead log or a journal, SQLite takes for the ledger's.
    """
    check_ledger(path)
    for companion in companions(path):
        with suppress(FileNotFoundError):
            check_companion(companion, companion.lstat(), owner_of(path), 0o022)


def connect_writer(path: Path, vfs: str | None, durability: str, until: float) -> apsw.Connection:
    """A connection that writes, to a file that is a ledger by then. Raises `NotALedger`,
    `UnsupportedSchema`. The caller has the lock, so nobody else makes the file."""
    if not path.exists():
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    check_files(path)
    connection = _connect(f"file:{quote(str(path))}", _FLAGS, vfs)
    wait_until(connection, until)
    try:
        _prepare(connection, path, durability)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_reader(path: Path, vfs: str | None, until: float) -> apsw.Connection:
    """A connection that only reads. Each of its calls waits for as long as there is until then."""
    connection = _connect(f"file:{quote(str(path))}", _FLAGS, vfs)
    wait_until(connection, until)
    connection.pragma("query_only", True)
    connection.pragma("mmap_size", MMAP_BYTES)
    connection.pragma("cache_size", -READER_CACHE_KIB)
    return connection


def _connect(uri: str, flags: int, vfs: str | None) -> apsw.Connection:
    connection = apsw.Connection(uri, flags=flags, vfs=vfs)
    # A plan once made stays. Otherwise SQLite plans again whenever other values are bound, which
    # takes longer than the statement itself.
    connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
    return connection


def wait_until(connection: apsw.Connection, until: float) -> None:
    """Have calls of the connection wait for locks of others until `time.monotonic` says so."""
    connection.set_busy_timeout(max(0, round(1000 * (until - monotonic()))))


def _prepare(connection: apsw.Connection, path: Path, durability: str) -> None:
    """Make the file a ledger, if it is one or empty. Raises `NotALedger`, `UnsupportedSchema`."""
    # Until it is known whose files SQLite has opened by now, they change nothing.
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    tables = {name for (name,) in connection.execute(queries.TABLES)}
    check_files(path)
    if durability == "full":
        flush_wal(path)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0)
    check_is_ledger(connection.execute, path, tables)
    if not tables:
        connection.pragma("auto_vacuum", "incremental")
    mode = connection.pragma("journal_mode", "wal")
    if mode != "wal":
        raise LogUnavailable(f"{path} can't be switched to write-ahead logging; it stays in {mode}")
    connection.pragma("synchronous", SYNCHRONOUS[durability])
    connection.pragma("mmap_size", MMAP_BYTES)
    connection.pragma("journal_size_limit", WAL_BYTES)
    if "ledger_meta" in tables and _is_whole(connection):
        return
    connection.execute("BEGIN IMMEDIATE")
    if "ledger_meta" in tables:
        _migrate(connection)
    for statement in (*queries.SCHEMA, *epoch.TRIGGERS, epoch.NEW_EPOCHS):
        connection.execute(statement)
    connection.execute(queries.WRITE_META, ("schema", queries.SCHEMA_VERSION))
    # What was appended while the triggers were not there.
    connection.execute(queries.COPY_HEADS)
    if not tables >= queries.ROW_TABLES:
        connection.execute(queries.FOLD_ALL_AGAIN)
    connection.execute("COMMIT")


def flush_wal(path: Path) -> None:
    """Make durable what SQLite has taken over from a process that died before its flush.

    It is shown from now on, and a loss of power would take it back. SQLite has no lock on this
    file that a close could drop.
    """
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        flush(wal)
        flush(path.parent)


def _migrate(connection: apsw.Connection) -> None:
    schema = _schema(connection.execute) or queries.SCHEMA_VERSION
    for version in range(schema, queries.SCHEMA_VERSION):
        for statement in queries.MIGRATIONS[version]:
            connection.execute(statement)


def check_is_ledger(execute: Execute, path: Path, tables: set[str]) -> None:
    """Raises `NotALedger` or `UnsupportedSchema`, unless the tables are a ledger's, or none."""
    if not tables:
        return
    for table, required in queries.REQUIRED_COLUMNS.items():
        columns = {name for (name,) in execute(queries.COLUMNS, (table,))}
        if not required <= columns:
            names = ", ".join(sorted(tables)[:5])
            raise NotALedger(f"{path} holds another application's tables: {names}")
    if "ledger_meta" in tables:
        found = _schema(execute)
        if found is not None and found > UNOPENED:
            raise NotALedger(
                f"{path} is a backup or an unfinished copy: `sessionledger restore` makes a ledger "
                "of a backup, and the same `sessionledger copy` goes on with a copy"
            )
        if found is not None and found > queries.SCHEMA_VERSION:
            raise UnsupportedSchema(
                f"{path} has schema {found}, this sessionledger knows up to "
                f"{queries.SCHEMA_VERSION}: upgrade sessionledger"
            )


def _is_whole(connection: apsw.Connection) -> bool:
    """Whether the schema is ours and has all its parts: triggers go when a stranger's migration
    drops the table that they watch."""
    parts = {name for (name,) in connection.execute(queries.OUR_NAMES)}
    return (
        _schema(connection.execute) == queries.SCHEMA_VERSION
        and parts >= queries.NAMES | epoch.NAMES
    )


def _schema(execute: Execute) -> int | None:
    found = list(execute(queries.READ_META, ("schema",)))
    return int(str(found[0][0])) if found else None
