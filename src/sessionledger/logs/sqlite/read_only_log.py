"""A read-only log over one snapshot of a SQLite ledger, for users without write permission.

To open a ledger takes write permission: tables are made, a gap is folded, and SQLite itself writes
its shared index. This log reads as a diagnosis does, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import apsw

from sessionledger.errors import LogUnavailable, NoLedger, StoreClosed
from sessionledger.findings import Finding
from sessionledger.logs.arguments import check_name
from sessionledger.logs.base import (
    Check,
    Description,
    KeyState,
    Outcome,
    Progress,
    Unit,
    key_state_of,
)
from sessionledger.logs.compaction.contract import WHOLE, CompactableLog, Compaction, Cut
from sessionledger.logs.concurrency.waiting import TIMEOUT_SECONDS, Waiters
from sessionledger.logs.gap_fold import RowsBehind
from sessionledger.logs.sqlite import queries
from sessionledger.logs.sqlite.connection import (
    check_is_ledger,
    check_location,
    translated_errors_of_reader,
)
from sessionledger.logs.sqlite.read_snapshot import ReadSnapshot
from sessionledger.logs.sqlite.readers import Execute
from sessionledger.logs.sqlite.reads import Ask, SQLiteReads
from sessionledger.ownership import resolved

T = TypeVar("T")

POLL_SECONDS = 0.05
"""How often others' appends are looked for while somebody waits for them."""


class SQLiteSnapshot(SQLiteReads):
    """A `Log` that shows what a SQLite ledger holds, and refuses to change it.

    Where nobody else has the ledger open it is read without locks: a change meanwhile is noticed,
    and `close` raises `LogUnavailable` for it. Raises `RowsBehind` where rows are asked for that
    have yet to be folded.
    """

    def __init__(
        self, path: str | Path, *, timeout: float = TIMEOUT_SECONDS, vfs: str | None = None
    ) -> None:
        """Raises `NoLedger`, `LogUnavailable`, `NotALedger` or `UnsupportedSchema`."""
        super().__init__()
        self.path = Path(path).absolute()
        self.timeout = timeout
        self._vfs = vfs
        self._closed = False
        self._waiters = Waiters()
        self._opened = ExitStack()
        with translated_errors_of_reader(self.path):
            self.path = resolved(path)
            check_location(self.path)
            if not self.path.exists():
                raise NoLedger(self.path)
            self._snapshot = self._opened.enter_context(ReadSnapshot(self.path, vfs, timeout))
            try:
                self._has_rows = self._check_schema()
            except BaseException:
                self._opened.close()
                raise

    def _check_schema(self) -> bool:
        """Whether the tables of rows are those of this version."""
        tables = {name for (name,) in self._snapshot.select(queries.TABLES)}
        check_is_ledger(self._snapshot.select, self.path, tables)
        if not tables:
            raise NoLedger(self.path)
        ours = {name for (name,) in self._snapshot.select(queries.OUR_NAMES)}
        has_meta = "ledger_meta" in tables
        schema = self._snapshot.select(queries.READ_META, ("schema",)) if has_meta else []
        return ours >= queries.NAMES and schema == [(queries.SCHEMA_VERSION,)]

    # -- reading

    def wait(self, topic: str, after: int, timeout: float | None = None) -> int:
        return self._waiters.wait_above(
            topic, after, lambda: self._latest_by_now(topic, after), timeout, POLL_SECONDS
        )

    def _latest_by_now(self, topic: str, after: int) -> int:
        head = self.latest(topic)
        if head <= after:
            with translated_errors_of_reader(self.path):
                self._snapshot.renew()
            head = self.latest(topic)
        return head

    def state(self, topic: str, key: bytes) -> KeyState | None:
        return key_state_of(self.row(topic, key))

    def _in_current(self, topic: str, ask: Ask[T]) -> T:
        """Raises `RowsBehind` where the rows are behind."""
        given = (check_name("topic", topic),)
        found = self._select(queries.TOPIC_LINE, given) if self._has_rows else []
        number, folded, head, mark, _ = found[0] if found else (0, 0, self.latest(topic), 0, 0)
        if folded != head:
            raise RowsBehind(f"events of {topic!r} have yet to be folded into rows of {self.path}")
        return self._read(lambda execute: ask(execute, number, mark))

    # -- the whole

    def describe(self) -> Description:
        self._check_open()
        details: dict[str, str | int | bool] = {
            "sqlite": apsw.sqlite_lib_version(),
            "schema": queries.SCHEMA_VERSION,
            "bytes": self.path.stat().st_size,
            "writable": False,
        }
        return Description("sqlite", str(self.path), "none", True, details)

    def examine(self, topic: str, check: Check) -> list[Finding]:
        from sessionledger.logs.sqlite.examination import examine  # few ever ask

        self._check_open()
        return examine(self.path, self._vfs, topic, check)

    def flush(self) -> None:
        self._check_open()

    def close(self) -> None:
        self._closed = True
        with translated_errors_of_reader(self.path):
            self._opened.close()

    # -- what would change it

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        self._refuse()

    def compactable(self) -> CompactableLog:
        return self

    def _cut_line(self, topic: str) -> tuple[int, Cut]:
        return super()._cut_line(topic) if self._has_rows else (0, WHOLE)

    def forget_cursor(self, topic: str, consumer: str) -> None:
        self._refuse()

    def lease(self) -> AbstractContextManager[None]:
        self._refuse()

    def compact(
        self, topic: str, compaction: Compaction, progress: Progress | None = None
    ) -> NoReturn:
        self._refuse()

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        self._refuse()

    def ack(self, topic: str, consumer: str, cursor: int) -> None:
        self._refuse()

    def _refuse(self) -> NoReturn:
        self._check_open()
        raise LogUnavailable(f"{self.path} is only shown as it was, and can't be changed here")

    # -- asking

    def _select(self, sql: str, values: tuple[Any, ...]) -> list[Any]:
        return self._read(lambda execute: execute(sql, values).fetchall())

    def _read(self, work: Callable[[Execute], T]) -> T:
        self._check_open()
        with translated_errors_of_reader(self.path):
            return self._snapshot.run(work)

    def _check_open(self) -> None:
        if self._closed:
            raise StoreClosed(f"{self.path} is closed")
