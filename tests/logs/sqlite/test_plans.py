"""How SQLite goes about our statements: a page costs what it holds, not what there is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import apsw
import pytest

from sessionledger import Row, RowFilter
from sessionledger.logs.sql import statements
from sessionledger.logs.sqlite import SQLiteLog, queries

AFTER = Row(b"key", 1, 1, "alice", 1, True, b"")


@pytest.mark.parametrize("after", [None, AFTER], ids=["first", "next"])
@pytest.mark.parametrize("live_at", [None, 1], ids=["all", "live"])
@pytest.mark.parametrize(
    ("owner", "alias", "before"),
    [(None, None, None), ("alice", None, None), (None, "a", None), (None, None, 5)],
    ids=["key", "owner", "alias", "end"],
)
def test_no_page_of_rows_is_sorted(
    tmp_path: Path,
    owner: str | None,
    alias: str | None,
    before: int | None,
    live_at: int | None,
    after: Row | None,
) -> None:
    where = RowFilter(owner=owner, alias=alias, live_at=live_at, expires_before=before)
    listing = queries.listing(statements.ROW_COLUMNS, where, after, 10)
    assert "TEMP B-TREE" not in plan(tmp_path, listing[0], (1, *listing[1]))


@pytest.mark.parametrize("live_at", [None, 1], ids=["all", "live"])
def test_the_rows_of_an_owner_are_counted_alone(tmp_path: Path, live_at: int | None) -> None:
    counting = queries.listing("count(*)", RowFilter(owner="alice", live_at=live_at))
    assert "owner=?" in plan(tmp_path, counting[0], (1, *counting[1]))


def test_nor_is_one_of_an_examination(tmp_path: Path) -> None:
    page = plan(tmp_path, queries.ROWS_AFTER, (1, b"", 10))
    assert "(key>?)" in page
    assert "TEMP B-TREE" not in page
    assert "(key<?)" in plan(tmp_path, queries.COUNT_STRANGE_KEYS, ("tallies",))


def plan(folder: Path, sql: str, values: object) -> str:
    """What SQLite says that it will do."""
    SQLiteLog(folder / "ledger").close()
    with closing(apsw.Connection(str(folder / "ledger"))) as connection:
        steps = connection.execute("EXPLAIN QUERY PLAN " + sql, values).fetchall()  # type: ignore[arg-type]
    return "\n".join(str(step[3]) for step in steps)
