"""A ledger's address, and the log behind it.

    memory:                    in this process only
    sqlite:///sessions.db      a file, relative to the working directory
    sqlite:////var/lib/s.db    a file by its absolute path
    file:///var/lib/sessions   a folder of text files, by its absolute path
    file:sessions              a folder, relative to the working directory
    postgresql://user@host/db  a schema `sessionledger` in a PostgreSQL database

`file:` is RFC 8089's: after its two slashes comes a host, which is empty, and then an absolute
path. Percent-encoded bytes in the path are decoded, as UTF-8. A backend's driver is imported only
when its address is opened.

Each address may end with `?timeout=5s`: how long a call waits for others that use the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote

from sessionledger.errors import InvalidPolicy, InvalidURL
from sessionledger.findings import Finding
from sessionledger.logs.base import Check, Log
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS
from sessionledger.ownership import resolved
from sessionledger.plain import as_text
from sessionledger.secrecy import without_locals

if TYPE_CHECKING:  # few ledgers are copied
    from sessionledger.logs.compaction.copyable import Staged

DURABILITIES = ("full", "normal")
LEAST_SECONDS, MOST_SECONDS = 0.001, 86_400
LEAST_STALENESS, MOST_STALENESS = timedelta(milliseconds=100), timedelta(hours=1)
_KNOWN = (
    "memory:, sqlite:///relative/path, sqlite:////absolute/path, file:///absolute/folder, "
    "file:relative/folder or postgresql://user@host/database"
)
_FOR_A_FILE = "for a file sessions.db write sqlite:///sessions.db"


class LedgerURL(NamedTuple):
    """What a ledger's address says.

    path: the file or the folder, or None for a ledger that has neither. location: the address as it
    may be shown, without secrets. holds_secret: whether the address holds a password. timeout: how
    many seconds a call waits for others.
    """

    scheme: str
    path: Path | None
    location: str
    holds_secret: bool = False
    timeout: float = TIMEOUT_SECONDS


@without_locals
def parse_url(url: str) -> LedgerURL:
    """What a ledger's address says, by the parser that opens the ledger.

    Raises `InvalidURL`, which repeats nothing: there may be a password.
    """
    scheme, rest, timeout = _divide(url)
    return _PARSERS[scheme](rest)._replace(timeout=timeout)


@without_locals
def open_log(
    url: str,
    *,
    durability: str = "full",
    timeout: timedelta | None = None,
    pool_size: int | None = None,
    max_staleness: timedelta | None = None,
) -> Log:
    """Open the log at an address.

    durability: "full" answers after fsync; "normal" survives the process but not a power loss.
    timeout: how long a call waits for others, in place of what the address says. pool_size: how
    many connections to PostgreSQL this process has at most; other logs have none. max_staleness:
    how old a `state` may be in PostgreSQL; in other logs none is old.
    Raises `InvalidURL` for an address that can't be understood, `InvalidPolicy` for another
    durability, timeout, pool_size or max_staleness, and what the log raises.
    """
    parsed = parse_url(url)
    seconds = parsed.timeout if timeout is None else timeout.total_seconds()
    if durability not in DURABILITIES:
        raise InvalidPolicy("durability must be 'full' or 'normal'")
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InvalidPolicy(f"timeout must be 1 ms to a day, got {seconds:g} s")
    if max_staleness is not None and not LEAST_STALENESS <= max_staleness <= MOST_STALENESS:
        raise InvalidPolicy(
            f"max_staleness must be 100 ms to an hour, got {max_staleness.total_seconds():g} s; "
            "leave it out for reads that are never stale"
        )
    if parsed.scheme == "memory":
        from sessionledger.logs.memory.log import MemoryLog

        return MemoryLog(timeout=seconds)
    if parsed.path is None:
        server = f"postgresql:{_divide(url)[1]}"
        opening = _postgres_log(max_staleness)
        return opening(server, durability=durability, timeout=seconds, pool_size=pool_size)
    if parsed.scheme == "sqlite":
        from sessionledger.logs.sqlite import SQLiteLog

        return SQLiteLog(parsed.path, durability=durability, timeout=seconds)
    from sessionledger.logs.file import FileLog

    return FileLog(parsed.path, durability=durability, timeout=seconds)


def _postgres_log(max_staleness: timedelta | None) -> Callable[..., Log]:
    if max_staleness is None:
        from sessionledger.logs.postgres import PostgresLog

        return PostgresLog
    from sessionledger.logs.postgres.staleness.cached_log import CachedPostgresLog

    return partial(CachedPostgresLog, max_staleness.total_seconds())


@without_locals
def open_snapshot(url: str) -> Log:
    """A read-only log, for users without write permission, that makes and changes nothing.

    Of a SQLite ledger it shows one snapshot, until it waits for more. Events that have yet to be
    folded are folded in memory. Raises `NoLedger` where there is none, `InvalidURL`,
    `LogUnavailable`, `NotALedger` or `UnsupportedSchema`.
    """
    parsed = parse_url(url)
    if parsed.scheme == "memory":
        raise InvalidURL("a memory: ledger is seen by nobody but the log that holds it")
    if parsed.scheme == "file" and parsed.path is not None:
        from sessionledger.logs.file.log import ReadOnlyFileLog

        return ReadOnlyFileLog(parsed.path, timeout=parsed.timeout)
    from sessionledger.logs.gap_fold import ReadOnlyLog

    if parsed.path is None:
        from sessionledger.logs.postgres.log import ReadOnlyPostgresLog

        server = f"postgresql:{_divide(url)[1]}"
        return ReadOnlyLog(ReadOnlyPostgresLog(server, timeout=parsed.timeout))
    from sessionledger.logs.sqlite.read_only_log import SQLiteSnapshot

    return ReadOnlyLog(SQLiteSnapshot(parsed.path, timeout=parsed.timeout))


@without_locals
def schema_sql(url: str) -> str:
    """The SQL that makes a ledger in PostgreSQL, for a role that may create schemas and tables.

    It may run again: what is there stays. Raises `InvalidURL` for any other address.
    """
    if parse_url(url).scheme != "postgresql":
        raise InvalidURL("only a ledger in PostgreSQL is made by SQL: postgresql://user@host/db")
    from sessionledger.logs.postgres.opening import creation_sql

    return creation_sql(f"postgresql:{_divide(url)[1]}")


@without_locals
def staged_at(url: str) -> Staged:
    """A copy that is to get an address. Raises `InvalidURL`, and what the system raises."""
    parsed = parse_url(url)
    if parsed.scheme == "memory":
        raise InvalidURL("a memory: ledger ends with its process, and can't be a copy")
    if parsed.path is None:
        from sessionledger.logs.postgres.staging import StagedSchema

        return StagedSchema(f"postgresql:{_divide(url)[1]}")
    if parsed.scheme == "sqlite":
        from sessionledger.logs.sqlite.backup_file import StagedFile

        return StagedFile(parsed.path)
    from sessionledger.logs.file.compaction.staging import StagedFolder

    return StagedFolder(parsed.path)


@without_locals
def examine_log(url: str, topic: str, check: Check) -> list[Finding]:
    """What `Log.examine` answers for the log at an address, which is not opened for it.

    So it finds what an opening would mend, and works where an opening would fail. Raises what
    `open_log` raises where nothing can be told at all.
    """
    scheme, rest, _ = _divide(url)
    if scheme == "sqlite":
        from sessionledger.logs.sqlite.examination import examine

        return examine(_sqlite_path(rest), None, topic, check)
    if scheme == "file":
        from sessionledger.logs.file import examination as files
        from sessionledger.logs.file.disk import Disk

        return files.examine(Disk(resolved(_file_path(rest))), topic, check)
    log = open_log(url) if scheme == "memory" else open_snapshot(url)
    try:
        return log.examine(topic, check)
    finally:
        log.close()


def _divide(url: object) -> tuple[str, str, float]:
    """The scheme of an address, in lower case, what follows the colon, and the timeout, which is
    taken out. Raises `InvalidURL`."""
    if (text := as_text(url)) is None:
        raise InvalidURL(f"a ledger's address is text, not {type(url).__name__}; {_FOR_A_FILE}")
    scheme, colon, rest = text.partition(":")
    if colon and scheme.lower() in _PARSERS:
        rest, seconds = _without_timeout(rest)
        return scheme.lower(), rest, seconds
    said = (
        f"begins with {scheme}:" if colon and scheme.isalpha() else f"has no scheme; {_FOR_A_FILE}"
    )
    raise InvalidURL(f"a ledger's address is {_KNOWN}; this one {said}")


def _without_timeout(rest: str) -> tuple[str, float]:
    head, mark, query = rest.partition("?")
    pairs = query.split("&")
    given = [pair for pair in pairs if pair.startswith("timeout=")]
    if not given:
        return rest, TIMEOUT_SECONDS
    found = re.fullmatch(r"timeout=([0-9]{1,9}(?:\.[0-9]+)?)(m?)s", "&".join(given))
    seconds = float(found[1]) / (1000 if found[2] else 1) if found else 0
    if not LEAST_SECONDS <= seconds <= MOST_SECONDS:
        raise InvalidURL("a timeout is 1 ms to a day, written once: timeout=10s or timeout=500ms")
    left = "&".join(pair for pair in pairs if pair not in given)
    return head + (left and mark + left), seconds


def _memory_url(rest: str) -> LedgerURL:
    if rest not in ("", "//"):
        raise InvalidURL("memory: takes nothing after it: each one is a log of its own")
    return LedgerURL("memory", None, "memory:")


def _sqlite_url(rest: str) -> LedgerURL:
    return LedgerURL("sqlite", _sqlite_path(rest), f"sqlite:{rest}")


def _sqlite_path(rest: str) -> Path:
    written = rest.removeprefix("///")
    if written == rest or not written or written.startswith(":"):
        raise InvalidURL(f"a SQLite ledger is sqlite:/// and a path; known are {_KNOWN}")
    return _path(written)


def _file_url(rest: str) -> LedgerURL:
    return LedgerURL("file", _file_path(rest), f"file:{rest}")


def _file_path(rest: str) -> Path:
    written = rest.removeprefix("//")
    absolute = written.startswith("/")
    if not written.strip("/") or absolute != (written != rest or rest.startswith("/")):
        raise InvalidURL(f"a ledger of files is file:/// and an absolute path; known are {_KNOWN}")
    return _path("/" + written.lstrip("/") if absolute else written)


def _postgres_url(rest: str) -> LedgerURL:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        if error.name is None or error.name.partition(".")[0] != "psycopg":
            raise
        raise InvalidURL(
            "a PostgreSQL ledger needs psycopg: pip install 'sessionledger[postgres]'"
        ) from None
    from sessionledger.logs.postgres.opening import address_of

    address = address_of(f"postgresql:{rest}")
    return LedgerURL("postgresql", None, address.location, address.holds_secret)


_PARSERS = {
    "memory": _memory_url,
    "sqlite": _sqlite_url,
    "file": _file_url,
    "postgresql": _postgres_url,
    "postgres": _postgres_url,
}


def _path(written: str) -> Path:
    if "?" in written or "#" in written:
        raise InvalidURL(
            "an address takes ?timeout= alone, and no #; as part of the path write %3F or %23"
        )
    try:
        path = unquote(written, errors="strict")
    except UnicodeDecodeError:
        raise InvalidURL("a path's percent-encoded bytes are UTF-8") from None
    if "\0" in path:
        raise InvalidURL("a path can't hold a NUL character")
    return Path(path)
