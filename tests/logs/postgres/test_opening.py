"""Addresses of PostgreSQL ledgers, and what a server has to be."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from time import monotonic

import pytest
from psycopg.conninfo import conninfo_to_dict

from sessionledger import (
    AsyncSessionStore,
    InvalidURL,
    LedgerURL,
    LogUnavailable,
    NotALedger,
    SessionStore,
    UnsupportedSchema,
    open_log,
    parse_url,
)
from sessionledger.logs.postgres.opening import address_of
from sessionledger.testing import Clock
from sessionledger.testing.fixtures import PATIENCE, TOPIC, add, concurrently, event
from tests.addresses import HOLDING_A_SECRET, SECRET, UNREADABLE
from tests.logs import bare_postgres
from tests.logs.postgres import hostile
from tests.postgres_server import (
    address,
    alter_database,
    execute,
    in_database,
    schema,
    server,
    setting,
    standby,
    use_a_server_apart,
)

LOCATIONS = {
    "postgresql://alice@db.example:5433/app": "postgresql://db.example:5433/app",
    f"postgresql://alice:{SECRET}@db.example/app": "postgresql://db.example/app",
    "postgresql://db.example/app?schema=other": "postgresql://db.example/app?schema=other",
    f"postgresql://a,b:5/app?user=al&password={SECRET}": "postgresql://a,b:5/app",
    "postgresql://a:5,b:6/app": "postgresql://a:5,b:6/app",
    "postgresql:///app?host=a,b&port=5": "postgresql://a:5,b:5/app",
    "postgresql://[2001:db8::1]:5433/app": "postgresql://[2001:db8::1]:5433/app",
    "postgresql:///app": "postgresql:///app",
    "postgresql:///a%2Fb?host=/run/postgresql": "postgresql:///a%2Fb?host=/run/postgresql",
    "postgresql://%2Frun%2Fpg:5433/app?schema=s": (
        "postgresql:///app?host=/run/pg&port=5433&schema=s"
    ),
    "postgresql://": "postgresql:///",
}


@pytest.mark.parametrize(("url", "location"), LOCATIONS.items())
def test_a_location_tells_where_and_no_secret(url: str, location: str) -> None:
    assert address_of(url).location == location
    assert address_of(location).location == location, "which names the same ledger"


@pytest.mark.parametrize("url", HOLDING_A_SECRET)
def test_no_spelling_of_a_password_is_shown(url: str) -> None:
    told = parse_url(url)
    assert told == LedgerURL("postgresql", None, "postgresql://127.0.0.1:1/app", True)
    assert SECRET not in repr(told) + repr(
        address_of(url.lower().replace("postgres:", "postgresql:"))
    )


@pytest.mark.parametrize("url", UNREADABLE)
def test_an_address_that_libpq_would_divide_elsewhere_is_refused(url: str) -> None:
    for call in (parse_url, open_log):
        with pytest.raises(InvalidURL, match="%40") as caught:
            call(url)
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("url", LOCATIONS)
def test_an_address_says_whether_it_holds_a_password(url: str) -> None:
    assert parse_url(url).holds_secret == (SECRET in url)


@pytest.mark.parametrize(
    ("query", "name", "value"),
    [
        ("application_name=my%20app", "application_name", "my app"),
        ("application_name=a+b", "application_name", "a+b"),
        ("options=-c%20statement_timeout%3D5s", "options", "-c statement_timeout=5s"),
        ("password=a%2Bb%20c", "password", "a+b c"),
    ],
)
def test_parameters_are_decoded_as_libpq_decodes_them(query: str, name: str, value: str) -> None:
    url = f"postgresql://u@h/db?{query}"
    assert address_of(url).parameters[name] == value == conninfo_to_dict(url)[name]


def test_what_is_said_is_asked_of_the_server() -> None:
    place = address_of(
        f"postgresql://al:{SECRET}@h/d?sslmode=require&schema=mine&connect_timeout=3"
    )
    assert place.schema == "mine"
    assert place.parameters == {
        "user": "al",
        "password": SECRET,
        "host": "h",
        "dbname": "d",
        "sslmode": "require",
        "connect_timeout": "3",
    }


@pytest.mark.parametrize(
    "rest",
    [
        f"//alice:{SECRET}@host:port/app",
        f"//alice:{SECRET}@host/app?unknown=1",
        f"//alice:{SECRET}@host/app?schema=",
        f"//alice:{SECRET}@host/app?schema=A",
        f"//alice:{SECRET}@host/app?schema=a%22b",
        f"//alice:{SECRET}@host/app?schema={'a' * 64}",
        f"//alice:{SECRET}@host/app#{SECRET}",
        f"//alice:{SECRET}@[host/app",
        f"//alice:{SECRET}@host/app?schema",
        "//host/\0",
    ],
)
def test_an_address_that_can_t_be_is_refused_without_being_told(rest: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        open_log(f"postgresql:{rest}")
    told = "".join(traceback.format_exception(caught.value))
    assert SECRET not in str(caught.value)
    assert "postgresql://user@host:port/database" in told
    assert caught.value.__cause__ is None


def test_a_server_that_is_not_there_is_told_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable) as caught:
        open_log(f"postgresql://alice:{SECRET}@/app?host={tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def run(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_without_the_driver_it_says_what_to_install() -> None:
    program = """
import sys
sys.modules["psycopg"] = None
from sessionledger import InvalidURL, open_log
try:
    open_log("postgresql://host/app")
except InvalidURL as error:
    print(error)
"""
    told = run(program)
    assert "pip install 'sessionledger[postgres]'" in told


def test_nobody_imports_the_driver_for_another_ledger() -> None:
    program = """
import sys
from sessionledger import SessionStore
SessionStore.open("memory:").close()
print("psycopg" in sys.modules)
"""
    told = run(program)
    assert told.strip() == "False"


@pytest.mark.middle
def test_a_server_that_does_not_flush_keeps_no_full_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_server_apart(monkeypatch)
    url = address(tmp_path)
    with setting("fsync", "off"):
        with pytest.raises(LogUnavailable, match="fsync off"):
            open_log(url)
        open_log(url, durability="normal").close()
    open_log(url).close()


def test_a_database_of_another_encoding_is_refused(tmp_path: Path) -> None:
    name = schema(tmp_path)
    execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'")
    with pytest.raises(LogUnavailable, match="LATIN1"):
        open_log(in_database(name))
    execute(f"DROP DATABASE {name}")


def test_no_ledger_is_made_where_nothing_can_be_written(tmp_path: Path) -> None:
    with read_only(), pytest.raises(LogUnavailable, match="read-only, and nothing was written"):
        open_log(address(tmp_path))


def test_a_primary_that_is_read_only_authenticates(tmp_path: Path) -> None:
    url, clock = address(tmp_path), Clock()
    errors: list[BaseException] = []
    with SessionStore.open(url, clock=clock) as store:
        live, ended = store.create("alice").token, store.create("bob").token
        store.expire(ended)
    clock.advance(timedelta(minutes=10))
    with read_only(), SessionStore.open(url, on_error=errors.append, clock=clock) as store:
        found = store.authenticate(live)
        assert found is not None
        assert found.principal == "alice"
        assert store.authenticate(ended) is None
        assert [type(error) for error in errors] == [LogUnavailable], "it could not be touched"
        with pytest.raises(LogUnavailable, match="default_transaction_read_only"):
            store.create("carol")
        with pytest.raises(LogUnavailable, match="default_transaction_read_only"):
            store.expire(live)

        async def in_a_loop() -> None:
            opened = AsyncSessionStore.open(url, on_error=errors.append, clock=clock)
            async with opened as sessions:
                assert await sessions.authenticate(live) is not None

        asyncio.run(in_a_loop())
    with SessionStore.open(url, clock=clock) as store:
        assert store.expire(live) is not None


@contextmanager
def read_only() -> Iterator[None]:
    alter_database("SET default_transaction_read_only = on")
    try:
        yield
    finally:
        alter_database("RESET default_transaction_read_only")


def test_settings_of_a_database_change_nothing_that_is_stored(tmp_path: Path) -> None:
    url = hostile.address(tmp_path, *hostile.SETTINGS)
    attributes = {"a": "b\\c\n\u0000ü", "n": [1, "é"]}
    with SessionStore.open(url) as store:
        tokens = [store.create("Zoë", attributes=attributes).token for _ in range(3)]
        for token in tokens:
            found = store.get(token)
            assert found is not None
            assert found.attributes == attributes
            assert store.patch(token, {"k": 1}) is not None
        assert store.count(principal="Zoë") == 3
        assert store.verify().ok


def test_rows_that_a_policy_would_hide_are_an_error_and_not_absent(tmp_path: Path) -> None:
    name, url = schema(tmp_path), address(tmp_path)
    with SessionStore.open(url) as store:
        token = store.create("alice").token
    role = f"r{name[-30:]}"
    execute(f"CREATE ROLE {role} LOGIN")
    execute(f"GRANT USAGE ON SCHEMA {name} TO {role}")
    execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {role}")
    execute(f"ALTER TABLE {name}.ledger_rows ENABLE ROW LEVEL SECURITY")
    with (
        SessionStore.open(url.replace("postgres@", f"{role}@")) as store,
        pytest.raises(LogUnavailable, match="row-level security"),
    ):
        store.get(token)


def test_a_standby_is_refused() -> None:
    for wanted in ("", "&target_session_attrs=any"):
        with pytest.raises(LogUnavailable, match="server is in hot standby mode"):
            open_log(standby() + wanted)
    with pytest.raises(LogUnavailable, match=r"it is a standby, .* connect to the primary"):
        open_log(f"{standby()}&target_session_attrs=standby")


def test_of_several_hosts_the_primary_is_taken(tmp_path: Path) -> None:
    hosts = ",".join(url.rpartition("=")[2] for url in ("=/nowhere", standby(), server()))
    ((database,),) = execute("SELECT current_database()")
    url = f"postgresql://postgres@/{database}?host={hosts}&schema={schema(tmp_path)}"
    log = open_log(url)
    assert add(log, [event()]) == (1,)
    log.close()


@pytest.mark.parametrize("is_hostile", [False, True])
def test_many_that_open_at_once_make_one_ledger(tmp_path: Path, is_hostile: bool) -> None:
    url = address(tmp_path)
    if is_hostile:
        url = hostile.address(tmp_path, "default_transaction_isolation = serializable")
    logs = concurrently(*[lambda: open_log(url)] * 8)
    assert [add(log, [event()]) for log in logs] == [(n,) for n in range(1, 9)]
    for log in logs:
        log.close()


def test_tables_of_others_are_left_alone(tmp_path: Path) -> None:
    name = schema(tmp_path)
    execute(f"CREATE SCHEMA {name}")
    execute(f"CREATE TABLE {name}.events (id int)")
    with pytest.raises(NotALedger, match="schema="):
        open_log(address(tmp_path))
    assert execute(f"SELECT count(*) FROM pg_tables WHERE schemaname = '{name}'") == [(1,)]


def test_a_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    open_log(address(tmp_path)).close()
    bare_postgres.execute(tmp_path, "UPDATE ledger_meta SET value = '99'")
    with pytest.raises(UnsupportedSchema, match="99"):
        open_log(address(tmp_path))


def test_an_older_ledger_gets_its_groups(tmp_path: Path) -> None:
    with SessionStore.open(address(tmp_path)) as store:
        old = store.create("alice")
        new = store.rotate(old.token)
        rows_then = list(store.sessions(principal="alice"))
    bare_postgres.execute(tmp_path, "DROP INDEX ledger_live_rows_by_group")
    bare_postgres.execute(tmp_path, "DROP INDEX ledger_live_rows_by_owner")
    bare_postgres.execute(tmp_path, "ALTER TABLE ledger_rows DROP COLUMN group_name")
    bare_postgres.execute(tmp_path, "ALTER TABLE topic_heads DROP COLUMN mark")
    bare_postgres.execute(tmp_path, "DROP TABLE ledger_base")
    for column in ("cut", "cut_hash", "seal"):
        bare_postgres.execute(tmp_path, f"ALTER TABLE topic_heads DROP COLUMN {column}")
    bare_postgres.execute(tmp_path, "ALTER TABLE topic_heads RENAME COLUMN reached TO folded")
    bare_postgres.execute(tmp_path, "ALTER TABLE ledger_rows DROP COLUMN replaced")
    bare_postgres.execute(tmp_path, "UPDATE ledger_meta SET value = '1' WHERE name = 'schema'")
    for log in concurrently(*[lambda: open_log(address(tmp_path))] * 4):
        log.close()
    with SessionStore.open(address(tmp_path)) as store:
        assert new is not None
        assert list(store.sessions(principal="alice")) == rows_then
        assert store.diagnose() == []
        store.revoke_everybody()
        assert store.get(new.token) is None


def test_who_may_use_a_ledger_need_not_be_allowed_to_make_one(tmp_path: Path) -> None:
    name, url = schema(tmp_path), address(tmp_path)
    with SessionStore.open(url) as store:
        token = store.create("alice").token
    role = f"r{name[-30:]}"
    execute(f"CREATE ROLE {role} LOGIN")
    execute(f"GRANT USAGE ON SCHEMA {name} TO {role}")
    execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {name} TO {role}")
    with SessionStore.open(url.replace("postgres@", f"{role}@")) as store:
        assert store.get(token) is not None
        store.create("bob")
        store.expire(token)
    execute(f"REVOKE INSERT ON ALL TABLES IN SCHEMA {name} FROM {role}")
    with SessionStore.open(url.replace("postgres@", f"{role}@")) as store:
        with pytest.raises(LogUnavailable, match="permission denied"):
            store.create("carol")
        assert store.get(token) is None


def test_a_ledger_is_durable_whatever_the_database_says(tmp_path: Path) -> None:
    """As far as it can be seen from outside: what a session of ours runs with."""
    url, seen = address(tmp_path), []
    alter_database("SET synchronous_commit = off")
    try:
        for durability in ("full", "normal"):
            log = open_log(url, durability=durability)
            log._transactions.run(  # type: ignore[attr-defined]
                lambda one: seen.extend(one.ask(("SHOW synchronous_commit", ()))),
                monotonic() + PATIENCE,
            )
            add(log, [event()])
            log.flush()
            log.close()
    finally:
        alter_database("RESET synchronous_commit")
    assert seen == [[("on",)], [("off",)]]


def test_topics_tell_those_that_hold_events(tmp_path: Path) -> None:
    log = open_log(address(tmp_path))
    log.append("nothing", [])
    add(log, [event()])
    assert log.topics() == [TOPIC]
    log.close()
