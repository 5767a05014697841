"""What is wrong with a SQLite ledger, found without opening it as a ledger.

Opening repairs what it can, and a damaged ledger may refuse to be opened. So this has a connection
that can't write, and reads everything in one snapshot. A check that knows what the events mean asks
for parts of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote

import apsw

from sessionledger.errors import NoLedger
from sessionledger.findings import Finding, Findings
from sessionledger.logs.arguments import check_name
from sessionledger.logs.base import Check, Row, StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.contract import WHOLE, Cut
from sessionledger.logs.embedded.permissions import check_file, check_folder
from sessionledger.logs.sql import statements
from sessionledger.logs.sql.writer import Select, base_page
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import (
    WAL_BYTES,
    check_is_ledger,
    check_location,
    companions,
    translated_errors,
)
from sessionledger.logs.sqlite.read_snapshot import ReadSnapshot
from sessionledger.logs.sqlite.row_cache import epoch
from sessionledger.ownership import resolved

# The versions before it may damage a ledger that several connections write (the WAL-reset bug).
SOUND_SQLITE = (3, 51, 3)

# A read locks one of these bytes of the log's index while it is open. The log can't be used again
# meanwhile (https://sqlite.org/walformat.html, section 2.3.2).
_READ_LOCKS = range(123, 128)

_INDEX_ONLY = re.compile(r"missing from index|entries in index")

_REBUILD = "run `sessionledger rebuild`"
_RESTORE = (
    "stop everything that writes the ledger, restore it from a copy, and compare the copy with a "
    "head from before: `sessionledger verify --expect HEAD`"
)
_OPEN = "stop everything that has the ledger open, then open it again: `sessionledger rebuild` does"


class _View:
    """A topic in the snapshot of a connection."""

    chained = True

    def __init__(self, snapshot: ReadSnapshot, topic: str, has_rows: bool | None) -> None:
        """has_rows: None where the rows are those of an older schema, which are not compared."""
        self._select = snapshot.select
        self._topic = topic
        self._number = 0
        self.folded: int | None = None if has_rows is None else 0
        if has_rows:
            for number, folded, _ in self._select(queries.TOPIC, (topic,)):
                self._number, self.folded = number, _number([(folded,)])
        self.cut = WHOLE
        for number, cut, hash, seal in self._select(queries.CUT, (topic,)) if has_rows else ():
            self._number, self.cut = number, Cut(Head(cut, hash), seal)
        self.head = _number(self._select(statements.HEAD, (topic,)))

    def events(self, after: int, limit: int) -> list[StoredEvent]:
        found = self._select(queries.SOUND_EVENTS_AFTER, (self._topic, after, limit))
        return queries.stored_events(found)

    def base(self, after: bytes, limit: int) -> list[Row]:
        if not self.cut.id:
            return []
        ask: Select = lambda sql, *values: self._select(sql, values)  # noqa: E731
        return base_page(ask, self._number, self.cut.id, after, limit)

    def cursors(self, topic: str) -> dict[str, int]:
        return dict(self._select(statements.CURSORS, (topic,)))

    def rows(self, after: bytes, limit: int) -> list[Row]:
        if not self._number:
            return []
        found = self._select(queries.ROWS_AFTER, (self._number, after, limit))
        return queries.stored_rows(found)


def examine(path: Path, vfs: str | None, topic: str, check: Check) -> list[Finding]:
    """What is wrong with the file and its surroundings, and what the check finds in the topic.

    Raises `LogUnavailable`, `NotALedger` or `UnsupportedSchema` where nothing can be told.
    """
    check_name("topic", topic)
    found, checked = Findings(), list[Finding]()
    with translated_errors(path):
        real = resolved(path)
        # As it was given, if that is its place: the commands in the findings are for people.
        path = path if real == path.absolute() else real
        check_location(path)
        if not path.exists():
            raise NoLedger(path)
        _check_permissions(path, found)
        _look_at_wal(path, found)
        _look_at_library(apsw.sqlite_lib_version(), found)
        with ReadSnapshot(path, vfs) as snapshot:
            with _damage(path, found):
                checked += _look_at_topic(snapshot, path, topic, check, found)
            _look_for_damage(snapshot, path, found)
    return found.all() + checked


def _look_at_topic(
    snapshot: ReadSnapshot, path: Path, topic: str, check: Check, found: Findings
) -> list[Finding]:
    tables = {name for (name,) in snapshot.select(queries.TABLES)}
    check_is_ledger(snapshot.select, path, tables)
    if not tables:
        raise NoLedger(path)
    has_rows = _look_at_schema(snapshot, path, found)
    view = _View(snapshot, topic, has_rows)
    strange = _number(snapshot.select(queries.COUNT_STRANGE_IDS, (topic,)))
    if strange:
        found.add("strange_ids", topic, f"it has {strange} under ids that no event has", _RESTORE)
    if has_rows:
        _look_at_topic_line(snapshot, topic, view, found)
    return list(check(view))


@contextmanager
def _damage(path: Path, found: Findings) -> Iterator[None]:
    """What can't be read is a finding, and the end of what can be found behind it."""
    try:
        yield
    except apsw.CorruptError as error:
        found.add("database_damaged", str(path), str(error), _RESTORE)


def _look_for_damage(snapshot: ReadSnapshot, path: Path, found: Findings) -> None:
    with _damage(path, found):
        for (line,) in snapshot.select(queries.INTEGRITY):
            if line != "ok":
                remedy = _reindex(path) if _INDEX_ONLY.search(line) else _RESTORE
                found.add("database_damaged", str(path), line.strip(), remedy)


def _reindex(path: Path) -> str:
    return (
        f"stop everything that writes the ledger, then: python -m apsw {quote(str(path))} REINDEX"
    )


def _look_at_library(version: str, found: Findings) -> None:
    if tuple(int(part) for part in version.split(".")) < SOUND_SQLITE:
        sound = ".".join(map(str, SOUND_SQLITE))
        found.add(
            "sqlite_outdated",
            f"SQLite {version}",
            f"versions before {sound} can damage a ledger that several connections write",
            "upgrade it where the ledger is used: pip install --upgrade apsw",
        )


def _look_at_wal(path: Path, found: Findings) -> None:
    """Before this examination reads, which would count as well."""
    wal, index, *_ = companions(path)
    size = wal.stat().st_size if wal.exists() else 0
    processes = reading_processes(index) if size > 2 * WAL_BYTES else []
    if processes:
        names = ", ".join(map(_name_of, processes))
        problem = f"it has grown to {size >> 20} MiB while process {names} kept a read open"
        remedy = "let it finish or end it: the next writes then give the space back"
        found.add("wal_held", str(wal), problem, remedy)


def reading_processes(index: Path) -> list[int]:
    """The ids of the processes that hold a read open; none where the system does not tell.

    index: the file beside the database whose name ends in `-shm`.
    """
    try:
        inode, lines = index.stat().st_ino, Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    # A line: `1: POSIX  ADVISORY  READ 4711 08:01:131073 124 124`.
    locks = [line.split() for line in lines]
    return sorted(
        {
            int(pid)
            for _, _, _, kind, pid, file, start, _ in (lock for lock in locks if len(lock) == 8)
            if kind == "READ" and file.endswith(f":{inode}") and int(start) in _READ_LOCKS
        }
    )


def _name_of(pid: int) -> str:
    """A process as a person finds it: its number, and its program's name where that can be read."""
    try:
        return f"{pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return str(pid)


def _look_at_schema(snapshot: ReadSnapshot, path: Path, found: Findings) -> bool | None:
    """Whether the tables of rows are there; None if they are of an older schema."""
    ours = {name for (name,) in snapshot.select(queries.OUR_NAMES)}
    missing = sorted((queries.NAMES | epoch.NAMES) - ours)
    if not ours:
        found.add(
            "not_prepared",
            str(path),
            "another program wrote it, and sessionledger has not opened it yet",
            "nothing: the first opening adds what is missing",
        )
    elif _schema_is_old(snapshot, ours):
        problem = "an older sessionledger wrote it"
        found.add("schema_old", str(path), problem, "nothing: opening it brings it up to date")
        return None
    elif missing:
        problem = f"{', '.join(missing)} went missing: what others append may go unnoticed"
        found.add("schema_incomplete", str(path), problem, _OPEN)
    return {"ledger_topics", "ledger_rows"} <= ours


def _schema_is_old(snapshot: ReadSnapshot, ours: set[str]) -> bool:
    if "ledger_meta" not in ours:
        return False
    schema = _number(snapshot.select(queries.READ_META, ("schema",)))
    return 0 < schema < queries.SCHEMA_VERSION


def _look_at_topic_line(snapshot: ReadSnapshot, topic: str, view: _View, found: Findings) -> None:
    copied = snapshot.select(queries.COPIED_HEAD, (topic,))
    if copied and copied[0][0] != view.head:
        problem = f"its copied head is {copied[0][0]}, and its head {view.head}: reads may be stale"
        found.add("head_copy_stale", topic, problem, _REBUILD)
    strange = _number(snapshot.select(queries.COUNT_STRANGE_KEYS, (topic,)))
    if strange:
        problem = f"{strange} rows stand under keys that are no bytes"
        found.add("row_surplus", topic, problem, _REBUILD)


def _check_permissions(path: Path, found: Findings) -> None:
    for file in (path, *companions(path)):
        if os.path.lexists(file):
            check_file(file, path, found)
    check_folder(path.parent, path, found)


def _number(found: list[tuple[object, ...]]) -> int:
    """The one number that a statement answers; 0 for none."""
    number = found[0][0] if found else 0
    return number if isinstance(number, int) else 0
