"""Tables made by a migration role, and programs whose role may not create anything."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from sessionledger import (
    DocumentLog,
    InvalidURL,
    LogUnavailable,
    SessionStore,
    open_log,
    open_snapshot,
    schema_sql,
)
from tests.cli.running import Line
from tests.postgres_server import address, execute, schema, server

PAGE = Path(__file__).parents[3] / "docs" / "postgresql.md"
LONG_AGO = timedelta(days=30)


@pytest.fixture
def role() -> Iterator[str]:
    """A role that may connect, and nothing else."""
    name = f"app_{time.monotonic_ns()}"
    ((database,),) = execute("SELECT current_database()")
    execute(f"CREATE ROLE {name} LOGIN")
    execute(f"REVOKE CREATE, TEMPORARY ON DATABASE {database} FROM PUBLIC")
    yield name
    execute(f"GRANT CREATE, TEMPORARY ON DATABASE {database} TO PUBLIC")
    execute(f"DROP OWNED BY {name}")
    execute(f"DROP ROLE {name}")


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def as_role(url: str, role: str) -> str:
    return url.replace("postgres@", f"{role}@", 1)


def migrate(place: Path, role: str) -> None:
    """What an administrator does once, as the documentation says."""
    (printed,) = re.findall(r"```sql\n(CREATE ROLE .*?)```", PAGE.read_text(), re.DOTALL)
    _, _, grants = printed.partition("\n")
    names = {"sessionledger": schema(place), "sessions_app": role}
    grants = re.sub("|".join(names), lambda found: names[found[0]], grants)
    with psycopg.connect(server(), autocommit=True) as administrator:
        administrator.execute((schema_sql(address(place)) + grants).encode())


def test_a_role_that_may_not_create_makes_every_call(tmp_path: Path, role: str) -> None:
    migrate(tmp_path, role)
    with SessionStore.open(as_role(address(tmp_path), role)) as store:
        issued = store.create("alice", ttl=timedelta(days=1))
        assert store.authenticate(issued.token) is not None
        assert store.touch(issued.token) is not None
        rotated = store.rotate(issued.token)
        assert rotated is not None
        child = store.create("job", parent=rotated.token)
        assert store.patch(rotated.token, {"role": "operator"}) is not None
        assert store.revoke_all("alice") == 1
        assert store.get(child.token) is None
        store.revoke_everybody()
        store.sweep()
        assert store.rebuild() > 0
        assert store.verify().ok
        assert not store.diagnose()
        assert store.stats().log.backend == "postgresql"


def test_a_role_that_may_not_create_compacts(tmp_path: Path, role: str) -> None:
    migrate(tmp_path, role)
    url = as_role(address(tmp_path), role)
    with SessionStore.open(url, clock=lambda: datetime.now(UTC) - LONG_AGO) as store:
        old = store.create("alice")
        store.expire(old.token)
    with SessionStore.open(url) as store:
        kept = store.create("bob")
        assert store.compact(retention=timedelta(days=2)).events == 2
        assert store.verify().ok
        assert store.get(old.token) is None
        assert store.get(kept.token) is not None


def test_a_role_that_may_only_select_reads(tmp_path: Path, role: str) -> None:
    migrate(tmp_path, role)
    with SessionStore.open(address(tmp_path)) as store:
        token = store.create("alice").token
    execute(f"REVOKE INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema(tmp_path)} FROM {role}")
    with closing(open_snapshot(as_role(address(tmp_path), role))) as log:
        shown = SessionStore(log)
        assert shown.get(token) is not None
        assert shown.count(principal="alice") == 1
        assert shown.verify().ok


def test_documents_are_granted_apart_from_sessions(tmp_path: Path, role: str) -> None:
    """They hold secrets: a role that has no use for them need not be able to read them."""
    migrate(tmp_path, role)
    execute(f"REVOKE ALL ON {schema(tmp_path)}.ledger_documents FROM {role}")
    url = as_role(address(tmp_path), role)
    with SessionStore.open(url) as store:
        issued = store.create("alice")
        assert store.get(issued.token) is not None
        assert store.expire(issued.token) is not None
        assert store.compact(retention=timedelta(days=2)).events == 0
        assert not store.diagnose()
        assert store.verify().ok
    with closing(open_log(url)) as log:
        assert isinstance(log, DocumentLog)
        with pytest.raises(LogUnavailable, match="ledger_documents"):
            log.document("webhooks.endpoints")
        with pytest.raises(LogUnavailable, match="ledger_documents"):
            log.replace_document("webhooks.endpoints", b"", b"x")


@pytest.mark.parametrize("made_by", ["opening", "the SQL", "a migration"])
def test_default_privileges_let_no_reader_see_the_documents(
    tmp_path: Path, role: str, made_by: str
) -> None:
    execute(f"ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO {role}")
    try:
        if made_by == "the SQL":
            execute(schema_sql(address(tmp_path)))
        else:
            SessionStore.open(address(tmp_path)).close()
        if made_by == "a migration":
            execute(f"DROP TABLE {schema(tmp_path)}.ledger_documents")
            execute(f"UPDATE {schema(tmp_path)}.ledger_meta SET value = '5' WHERE name = 'schema'")
            SessionStore.open(address(tmp_path)).close()
    finally:
        execute(f"ALTER DEFAULT PRIVILEGES REVOKE SELECT ON TABLES FROM {role}")
    tables = execute(f"""SELECT relname FROM pg_class
        WHERE relnamespace = '{schema(tmp_path)}'::regnamespace AND relkind = 'r'
        AND NOT has_table_privilege('{role}', oid, 'SELECT')""")
    assert tables == [("ledger_documents",)]


def test_the_sql_may_run_again_and_over_a_ledger_that_was_opened(tmp_path: Path, role: str) -> None:
    with SessionStore.open(address(tmp_path)) as store:
        token = store.create("alice").token
    migrate(tmp_path, role)
    migrate(tmp_path, role)
    with SessionStore.open(as_role(address(tmp_path), role)) as store:
        assert store.get(token) is not None


def test_the_sql_makes_what_opening_makes(tmp_path: Path, role: str) -> None:
    opened, printed = tmp_path / "opened", tmp_path / "printed"
    SessionStore.open(address(opened)).close()
    migrate(printed, role)
    assert objects(opened) <= objects(printed)
    guards = {("f", "ledger_refuse_append"), ("t", "ledger_cut_guarded")}
    assert objects(printed) - objects(opened) == guards


def objects(place: Path) -> set[tuple[str, str]]:
    """Every table, index, column, function and trigger of a schema, by what it is and its name."""
    name = schema(place)
    found = execute(f"""SELECT 'r', relname::text FROM pg_class
            WHERE relnamespace = '{name}'::regnamespace
        UNION SELECT 'c', relname || '.' || attname || ' ' || atttypid::regtype
            FROM pg_attribute JOIN pg_class ON attrelid = pg_class.oid
            WHERE relnamespace = '{name}'::regnamespace AND attnum > 0
        UNION SELECT 'f', proname FROM pg_proc WHERE pronamespace = '{name}'::regnamespace
        UNION SELECT 't', tgname FROM pg_trigger JOIN pg_class ON tgrelid = pg_class.oid
            WHERE relnamespace = '{name}'::regnamespace AND NOT tgisinternal""")
    return set(found)


def test_a_role_that_may_not_create_is_told_who_may(tmp_path: Path, role: str) -> None:
    with pytest.raises(LogUnavailable, match="init --print-sql"):
        SessionStore.open(as_role(address(tmp_path), role))


def test_the_command_prints_the_sql_and_makes_a_ledger(line: Line, tmp_path: Path) -> None:
    url = address(tmp_path)
    printed = line("init", "--print-sql", "--ledger", url)
    assert printed.out == schema_sql(url)
    assert line("get", "--handle", "hs_unknown", "--ledger", url).code == 4
    assert line("init", "--ledger", url).code == 0
    with SessionStore.open(url) as store:
        assert store.count() == 0


def test_only_a_ledger_in_postgresql_has_sql(line: Line) -> None:
    with pytest.raises(InvalidURL, match="made by SQL"):
        schema_sql("sqlite:///sessions.db")
    assert line("init", "--print-sql").code == 2
    assert line("init").code == 0
    assert line("sessions").code == 0
