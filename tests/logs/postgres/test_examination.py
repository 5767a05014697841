"""What a server still has of erased people is listed for as long as it is there, and no longer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.logs.postgres.examination import ELSEWHERE, LOG, PAGES, STATISTICS
from sessionledger.testing.fixtures import until
from tests import postgres_server

PERSON = "alice@example.org"
TABLES = ("events", "ledger_rows", "ledger_base")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SessionStore:
    """A ledger with statistics of a person, on a server that writes over its log soon."""
    postgres_server.use_a_server_apart(monkeypatch, max_wal_size="32MB", min_wal_size="32MB")
    store = SessionStore.open(postgres_server.address(tmp_path))
    for _ in range(200):
        store.create(PERSON, ttl=timedelta(days=1), attributes={"name": PERSON})
    for name in TABLES:
        postgres_server.execute(f"ANALYZE {postgres_server.schema(tmp_path)}.{name}")
    return store


def listed(store: SessionStore) -> tuple[str, ...]:
    """Where something is left, as statistics and doctor say it."""
    found = [one.subject for one in store.diagnose() if one.code == "erasure_remains"]
    assert store.stats().log.details["erased_remains"] == ", ".join(found)
    return tuple(found)


def write_log(segments: int) -> None:
    for _ in range(segments):
        postgres_server.execute("SELECT pg_switch_wal()")
        postgres_server.execute("CHECKPOINT")


def holding(paths: list[Path]) -> list[Path]:
    """The files among some that have the name of the person."""
    return [path for path in paths if path.is_file() and PERSON.encode() in path.read_bytes()]


def answering(schema: str) -> list[str]:
    """The tables of which a query answers the name of the person, in text or in bytes."""
    tables = postgres_server.execute(
        f"SELECT tablename FROM pg_tables WHERE schemaname = '{schema}' ORDER BY 1"
    )
    forms = " OR ".join(f"t::text LIKE '%{f}%'" for f in (PERSON, PERSON.encode().hex()))
    return [
        name
        for (name,) in tables
        if postgres_server.execute(f"SELECT FROM {schema}.{name} AS t WHERE {forms} LIMIT 1")
    ]


def folder() -> Path:
    return Path(postgres_server.execute("SHOW data_directory")[0][0])


def relations(schema: str) -> list[Path]:
    """The files of all tables and indexes of a schema, with what is stored beside them."""
    found = postgres_server.execute(f"""SELECT pg_relation_filepath(c.oid) FROM pg_class c
        WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'i')
        OR c.oid IN (SELECT reltoastrelid FROM pg_class
            WHERE relnamespace = '{schema}'::regnamespace)""")
    return [folder() / path for (path,) in found]


@pytest.mark.middle
def test_what_is_left_of_a_person_is_listed_until_it_is_gone(
    store: SessionStore, tmp_path: Path
) -> None:
    schema = postgres_server.schema(tmp_path)
    assert listed(store) == ()
    assert answering(schema) == ["events", "ledger_rows"]
    assert store.erase(PERSON).remains == (PAGES, STATISTICS, LOG, *ELSEWHERE)
    assert listed(store) == (PAGES, STATISTICS, LOG)
    assert not answering(schema)
    postgres_server.execute("CHECKPOINT")
    assert holding(relations(schema))
    names = ", ".join(f"{schema}.{name}" for name in TABLES)
    postgres_server.execute(f"VACUUM {names}")
    assert listed(store) == (PAGES, STATISTICS, LOG)
    postgres_server.execute(f"VACUUM (FULL, ANALYZE) {names}")
    assert listed(store) == (LOG,)
    postgres_server.execute("CHECKPOINT")
    assert not holding(relations(schema))
    assert not postgres_server.execute(
        f"SELECT FROM pg_stats WHERE schemaname = '{schema}' AND pg_stats::text LIKE '%{PERSON}%'"
    )
    write_log(12)  # pages may have been copied into it until the tables were rewritten
    assert listed(store) == (LOG,)
    store.maintain()
    assert listed(store) == (LOG,)

    def is_written_over() -> bool:
        write_log(1)
        return not listed(store)

    until(is_written_over)  # a server that has just begun has many segments before it
    assert listed(store) == ()
    assert not holding(list((folder() / "pg_wal").iterdir()))
    store.maintain()
    assert store.erase("nobody").remains == ()
    assert listed(store) == ()
    store.close()
