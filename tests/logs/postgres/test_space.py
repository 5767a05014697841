"""PostgreSQL's tables stay small over many compactions: what was deleted is used again."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sessionledger import SessionStore
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.writer import Writer
from sessionledger.logs.sql import compactor
from sessionledger.testing import Clock
from tests import postgres_server
from tests.logs import bare_postgres
from tests.logs.openers import address

RETENTION = timedelta(days=2)
TABLES = ("events", "ledger_links")


def vacuum(place: Path) -> None:
    """What autovacuum does, at once."""
    with psycopg.connect(postgres_server.server(), autocommit=True) as connection:
        connection.execute(f"SET search_path TO {postgres_server.schema(place)}")
        for table in TABLES:
            connection.execute(f"VACUUM ANALYZE {table}")


def dead_and_bytes(place: Path, table: str) -> tuple[int, int]:
    """The dead tuples that the statistics know of, and the size with all indexes."""
    ((dead, size),) = bare_postgres.execute(
        place,
        "SELECT n_dead_tup, pg_total_relation_size(relid) FROM pg_stat_user_tables"
        " WHERE schemaname = current_schema() AND relname = %s",
        table,
    )
    assert isinstance(dead, int)
    assert isinstance(size, int)
    return dead, size


@pytest.mark.middle
def test_the_tables_stay_as_large_over_many_compactions(tmp_path: Path) -> None:
    clock, place = Clock(), tmp_path / "ledger"
    url, sizes = address("postgresql", place), list[list[int]]()
    with SessionStore.open(url, clock=clock, durability="normal") as store:
        token = store.create("alice", ttl=timedelta(days=900)).token
        for _ in range(5):
            for number in range(200):
                store.touch(token, attributes={"number": number})
            clock.advance(timedelta(days=3))
            assert store.compact(retention=RETENTION).events >= 200
            vacuum(place)
            found = [dead_and_bytes(place, table) for table in TABLES]
            assert [dead for dead, _ in found] == [0, 0]
            sizes.append([size for _, size in found])
    assert all(last <= 1.2 * second for second, last in zip(sizes[1], sizes[-1], strict=True))


def test_one_key_may_have_more_links_than_a_transaction_deletes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, place, deleted = Clock(), tmp_path / "ledger", list[int]()
    then = Writer.then

    def counting(writer: Writer, sql: str, *values: Any) -> None:
        if sql == queries.REMOVE_LINKS:
            deleted.append(len(values[0]))
        then(writer, sql, *values)

    monkeypatch.setattr(Writer, "then", counting)
    monkeypatch.setattr(compactor, "PAGE", 7)
    with SessionStore.open(address("postgresql", place), clock=clock) as store:
        token = store.create("alice", ttl=timedelta(days=900)).token
        for number in range(30):
            store.touch(token, attributes={"number": number})
        clock.advance(timedelta(days=3))
        removed = store.compact(retention=RETENTION).events
        assert (sum(deleted), max(deleted)) == (removed, 7)
        store.touch(token)
        ((left,),) = bare_postgres.execute(place, "SELECT count(*) FROM ledger_links")
        assert left == 1
