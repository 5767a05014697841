"""The file itself: any path will do, and what is no ledger is refused and left as it is."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import apsw
import pytest

from sessionledger import (
    InvalidURL,
    LogUnavailable,
    NotALedger,
    SessionStore,
    UnsupportedSchema,
    diagnose,
    open_log,
)
from sessionledger.logs.sqlite import SQLiteLog, queries
from sessionledger.testing.fixtures import FOLD, TOPIC, add, concurrently, event
from tests.logs.children import run

OTHERS = "another application's tables"


def siblings(path: Path) -> set[str]:
    """What SQLite left beside a database; our lock file, which holds nothing, may stay."""
    return {one.name for one in path.parent.iterdir()} - {path.name, f"{path.name}-lock"}


@pytest.mark.parametrize("bytes", [b"dear diary, " * 500, b"SQLite format 3\0" + b"\xff" * 4096])
def test_what_is_no_database_stays_as_it_is(tmp_path: Path, bytes: bytes) -> None:
    path = tmp_path / "diary"
    path.write_bytes(bytes)
    with pytest.raises(NotALedger, match="left as it is"):
        SQLiteLog(path)
    assert path.read_bytes() == bytes
    assert siblings(path) == set()


OTHER_APPLICATION = """
import apsw, sys
_, path, mode = sys.argv
connection = apsw.Connection(path)
connection.pragma("journal_mode", mode)
connection.execute("CREATE TABLE users (name TEXT); INSERT INTO users VALUES ('alice')")
connection.close()
"""


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_another_applications_database_stays_as_it_is(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "users.db"
    run(OTHER_APPLICATION, path, mode)
    before = path.read_bytes()
    message = ""
    try:
        SQLiteLog(path)
    except NotALedger as error:
        message = str(error)
    assert OTHERS in message
    assert "users" in message
    assert path.read_bytes() == before
    assert siblings(path) == set()
    assert apsw.Connection(str(path)).pragma("journal_mode") == mode


def test_nothing_is_left_beside_it_while_the_error_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "users.db"
    run(OTHER_APPLICATION, path, "wal")
    with pytest.raises(NotALedger) as caught:
        SQLiteLog(path)
    assert siblings(path) == set(), caught.value


def test_tables_with_our_names_and_other_columns_are_another_applications(tmp_path: Path) -> None:
    path = tmp_path / "calendar.db"
    script = "import apsw, sys; apsw.Connection(sys.argv[1]).execute(sys.argv[2])"
    run(script, path, "CREATE TABLE events (day TEXT); CREATE TABLE topic_heads (topic, last_id)")
    before = path.read_bytes()
    with pytest.raises(NotALedger, match=OTHERS):
        SQLiteLog(path)
    assert path.read_bytes() == before


def test_a_newer_schema_is_refused_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    log = SQLiteLog(path)
    add(log, [event()])
    log.close()
    newer = apsw.Connection(str(path))
    newer.execute("UPDATE ledger_meta SET value = 99 WHERE name = 'schema'")
    newer.close()
    before = path.read_bytes()
    with pytest.raises(UnsupportedSchema, match=r"99.*upgrade"):
        SQLiteLog(path)
    assert path.read_bytes() == before


# What the schemas after the fourth changed, undone.
TO_SCHEMA_4 = (
    "ALTER TABLE ledger_topics RENAME COLUMN reached TO covered",
    "DROP TABLE ledger_base",
    *(f"ALTER TABLE ledger_topics DROP COLUMN {one}" for one in ("cut", "cut_hash", "seal")),
    "ALTER TABLE ledger_topics DROP COLUMN writing",
    "ALTER TABLE ledger_topics RENAME COLUMN covered TO upto",
    "ALTER TABLE ledger_topics DROP COLUMN mark",
    "ALTER TABLE ledger_topics RENAME COLUMN upto TO folded",
    "DROP INDEX ledger_rows_by_expiry",
    "ALTER TABLE ledger_rows DROP COLUMN replaced",
    "CREATE INDEX ledger_rows_by_expiry ON ledger_rows (topic, expires, key) WHERE live",
    "UPDATE ledger_meta SET value = 4 WHERE name = 'schema'",
)
TO_SCHEMA_3 = (
    *TO_SCHEMA_4,
    "DROP INDEX ledger_live_rows_by_owner",
    "DROP INDEX ledger_live_rows_by_alias",
    "DROP INDEX ledger_live_rows_by_group",
    "ALTER TABLE ledger_rows DROP COLUMN group_name",
    "CREATE INDEX ledger_rows_by_owner ON ledger_rows (topic, owner, created)",
    "UPDATE ledger_meta SET value = 3 WHERE name = 'schema'",
)


@pytest.mark.parametrize("undo", [TO_SCHEMA_3, TO_SCHEMA_4], ids=["3", "4"])
def test_an_older_file_gets_its_groups(tmp_path: Path, undo: tuple[str, ...]) -> None:
    path = tmp_path / "ledger"
    with SessionStore.open(f"sqlite:///{path}") as store:
        old = store.create("alice", external_id="sid")
        new = store.rotate(old.token)
        rows_then = list(store.sessions(principal="alice"))
    older = apsw.Connection(str(path))
    for statement in undo:
        older.execute(statement)
    older.close()
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert new is not None
        assert list(store.sessions(principal="alice")) == rows_then
        assert list(store.sessions(external_id="sid")) == rows_then
        assert store.diagnose() == []
        store.expire(old.token)
        assert store.get(new.token) is None


def test_an_older_file_gets_its_marks(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with SessionStore.open(f"sqlite:///{path}") as store:
        session = store.create("alice")
    older = apsw.Connection(str(path))
    for statement in TO_SCHEMA_4:
        older.execute(statement)
    older.close()
    assert [one.code for one in diagnose(f"sqlite:///{path}")] == ["schema_old"]
    with SessionStore.open(f"sqlite:///{path}") as store:
        assert store.get(session.token) is not None
        store.revoke_everybody()
        assert store.get(session.token) is None
        assert store.diagnose() == []


def test_rows_of_a_table_without_rowid_go_on(tmp_path: Path) -> None:
    """As the earliest files have them: what the table is made of shows in no statement."""
    path = tmp_path / "ledger"
    early = apsw.Connection(str(path))
    for sql in queries.SCHEMA:
        early.execute(f"{sql} WITHOUT ROWID" if "EXISTS ledger_rows (" in sql else sql)
    early.close()
    with SessionStore.open(f"sqlite:///{path}") as store:
        kept, ended = store.create("alice"), store.create("alice")
        store.touch(kept.token, attributes={"seen": True})
        store.expire(ended.token)
        rows_then = list(store.sessions(principal="alice", state="all"))
    with SessionStore.open(f"sqlite:///{path}") as store:
        session = store.get(kept.token)
        assert session is not None
        assert session.attributes == {"seen": True}
        assert store.get(ended.token) is None
        store.rebuild()
        assert list(store.sessions(principal="alice", state="all")) == rows_then


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match=r"the folder .*/nowhere does not exist"):
        SQLiteLog(tmp_path / "nowhere" / "ledger")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="it is a folder"):
        SQLiteLog(tmp_path)


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LogUnavailable, match="file is not a folder"):
        SQLiteLog(tmp_path / "file" / "ledger")


def test_a_nul_in_an_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidURL, match="NUL"):
        open_log(f"sqlite:///{quote(str(tmp_path))}/a%00b")


def test_a_nul_in_a_path_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable):
        SQLiteLog(f"{tmp_path}/a\0b")


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="too long"):
        SQLiteLog(tmp_path / ("x" * 300))


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    path.touch()
    log = SQLiteLog(path)
    assert add(log, [event()]) == (1,)
    log.close()
    again = SQLiteLog(path)
    assert again.latest(TOPIC) == 1
    again.close()


def test_a_lock_file_that_somebody_removed_stops_nobody(tmp_path: Path) -> None:
    log = SQLiteLog(tmp_path / "ledger")
    add(log, [event()])
    (tmp_path / "ledger-lock").unlink()
    try:
        assert concurrently(lambda: log.latest(TOPIC)) == [1]
    finally:
        log.close()


STRANGE_NAMES = [
    "a b",
    "a?mode=ro",
    "a#b",
    "100%",
    "%41",
    "été-日本-🔑",
    "a'b\"c",
    "a\nb",
    "a&b=c;d",
]


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_any_path_works(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    log = SQLiteLog(folder / name)
    log.fold_with(TOPIC, FOLD)
    add(log, [event(b"k")])
    assert log.row(TOPIC, b"k") is not None
    names = {one.name for one in folder.iterdir()}
    log.close()
    assert names == {name + end for end in ("", "-wal", "-shm", "-lock")}
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", STRANGE_NAMES)
def test_any_path_works_in_an_address(tmp_path: Path, name: str) -> None:
    url = f"sqlite:///{quote(str(tmp_path / name))}"
    with SessionStore.open(url) as store:
        token = store.create("alice").token
    assert (tmp_path / name).is_file()
    with SessionStore.open(url) as store:
        assert store.get(token) is not None
