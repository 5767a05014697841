"""What doctor says of real files that something is wrong with, and that what it advises helps.

Where a finding can be cured, the remedy that it names is run, and doctor asked again.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import apsw
import pytest

from sessionledger import Change, LogEvent, SessionStore, Unit, open_log
from sessionledger.findings import MOST_SHOWN
from sessionledger.logs.sqlite import queries
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import FOLD, PATIENCE, creation
from tests.cli.locked import AS_NOBODY, contents, lock
from tests.cli.running import Answer, Line
from tests.cli.screen import Screen
from tests.logs import bare_sqlite, children

TOPIC = "orchestrator.sessions"
COLUMNS = ["severity", "code", "subject", "problem", "remedy"]
SEEN_HANDLE = "sha256:v1:" + "ab" * 32

INSERT = f"INSERT INTO events VALUES ('{TOPIC}', ?, 'session_expired', ?, '{{}}', 1)"
EXPIRED = f'{{"token_handle":"{SEEN_HANDLE}","expired_at":"2020-01-01T00:00:00Z"}}'.encode()


@pytest.fixture
def path(line: Line) -> Path:
    """A ledger of three sessions, one of them ended."""
    token = line.create("alice")[0]
    line.create("bob")
    line.create("carol")
    line("expire", given=token)
    return line.folder / "sessions.db"


def doctor(line: Line) -> list[dict[str, Any]]:
    """What doctor finds, in JSON, with the exit code that goes with it."""
    answer = line("doctor", "--json")
    assert answer.err == ""
    assert answer.code == any(record["severity"] != "note" for record in answer.records)
    assert all(list(record) == COLUMNS for record in answer.records)
    return answer.records


def codes(line: Line) -> set[str]:
    return {record["code"] for record in doctor(line)}


def only(line: Line, code: str) -> dict[str, Any]:
    """The one finding, which has this code."""
    (record,) = doctor(line)
    assert record["code"] == code
    return record


def follow_advice(line: Line, remedy: str) -> None:
    """Run the command that a remedy names: one of ours in backticks, or the text itself."""
    quoted = re.search(r"`sessionledger (\w+)`", remedy)
    if quoted:
        assert line(quoted[1]).code == 0
    else:
        subprocess.run(["sh", "-c", remedy], cwd=line.folder, check=True)


@pytest.mark.usefixtures("path")
def test_a_ledger_that_is_well(line: Line, screen: Screen) -> None:
    for options in ([], ["--json"]):
        assert line("doctor", *options) == Answer(0, "", "")
    assert "nothing is wrong with orchestrator.sessions" in screen("doctor")


def test_no_ledger_and_what_is_none(line: Line) -> None:
    assert line("doctor").code == 4
    assert list(line.folder.iterdir()) == []
    (line.folder / "sessions.db").write_text("a letter to a friend, and no database" * 200)
    (line.folder / "sessions.db").chmod(0o600)
    answer = line("doctor")
    assert answer.code == 4
    assert "not a SQLite database" in answer.err


def test_a_ledger_of_the_future(line: Line, path: Path) -> None:
    bare_sqlite.execute(path, "UPDATE ledger_meta SET value = 99")
    answer = line("doctor")
    assert answer.code == 4
    assert "upgrade sessionledger" in answer.err


def test_another_applications_database(line: Line) -> None:
    bare_sqlite.execute(line.folder / "sessions.db", "CREATE TABLE customers (name)")
    assert "another application" in line("doctor").err


def test_an_empty_file_is_no_ledger_yet(line: Line) -> None:
    (line.folder / "sessions.db").touch(mode=0o600)
    assert '"no_ledger"' in line("doctor", "--json").err
    assert (line.folder / "sessions.db").stat().st_size == 0


def test_it_changes_nothing(line: Line, path: Path) -> None:
    bare_sqlite.append(path, TOPIC, [LogEvent.of("session_touched", {}, occurred_at_ms=1)])
    bare_sqlite.execute(path, "DROP TRIGGER ledger_head_moved")
    before = contents(line.folder)
    for _ in range(2):
        assert codes(line) >= {"schema_incomplete", "rows_behind"}
        assert contents(line.folder) == before


def test_it_leaves_alone_what_a_crash_left(line: Line, path: Path) -> None:
    script = """import os, sys; from sessionledger import SessionStore
SessionStore.open('sqlite:///' + sys.argv[1]).create('dave'); os._exit(0)"""
    children.run(script, path)
    wal = path.with_name("sessions.db-wal")
    before = path.read_bytes(), wal.read_bytes()
    assert before[1]
    assert doctor(line) == []
    assert (path.read_bytes(), wal.read_bytes()) == before
    assert "dave" in line("sessions").out


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o640, 0o666, 0o602])
@pytest.mark.parametrize("end", ["", "-lock"])
def test_a_file_that_others_may_read_or_write(line: Line, path: Path, end: str, mode: int) -> None:
    file = path.with_name(path.name + end)
    file.chmod(mode)
    finding = only(line, "open_to_others")
    assert finding["subject"] == file.name
    assert ("write" if mode & 0o022 else "read") in finding["problem"]
    follow_advice(line, finding["remedy"])
    assert doctor(line) == []


def test_a_folder_in_which_others_may_write(line: Line, path: Path) -> None:
    line.folder.chmod(0o777)
    finding = only(line, "folder_open_to_others")
    follow_advice(line, finding["remedy"])
    assert doctor(line) == []
    line.folder.chmod(0o1777)
    assert doctor(line) == []


def test_a_ledger_that_we_may_not_write(locked: Line) -> None:
    before = contents(locked.folder)
    answer = locked.program(AS_NOBODY, "doctor", "--json")
    assert answer.code == 1, answer.err
    found = {(r["code"], r["subject"]) for r in answer.records if r["code"] == "not_writable"}
    assert found == {("not_writable", name) for name in ("sessions.db", "sessions.db-lock", ".")}
    assert contents(locked.folder) == before


def test_what_is_wrong_is_found_without_permission_to_write(locked: Line) -> None:
    locked.folder.chmod(0o700)
    path = locked.folder / "sessions.db"
    path.chmod(0o600)
    bare_sqlite.execute(path, "UPDATE ledger_rows SET owner = 'mallory' WHERE version = 2")
    lock(locked.folder)
    assert "row_differs" in locked.program(AS_NOBODY, "doctor").out


def test_a_ledger_that_is_in_use_by_its_owner(locked: Line) -> None:
    if os.getuid():
        pytest.skip("its owner may not write it either")
    with SessionStore.open(f"sqlite:///{locked.folder}/sessions.db") as store:
        store.create("dave")
        lock(locked.folder)
        answer = locked.program(AS_NOBODY, "doctor", "--json")
    assert {r["code"] for r in answer.records} == {"open_to_others", "not_writable"}


@pytest.mark.middle
def test_an_old_sqlite(line: Line, path: Path) -> None:
    """The library tells its version through one function; an old one can't be had offline."""
    program = (
        "import apsw, sys; apsw.sqlite_lib_version = lambda: sys.argv[1]\n"
        "from sessionledger.cli.main import main; sys.exit(main(['doctor']))"
    )
    for version, code in (("3.40.1", 1), ("3.51.2", 1), ("3.51.3", 0), ("3.100.0", 0)):
        answer = line.program(program, version)
        assert (answer.code, "sqlite_outdated" in answer.out) == (code, bool(code))


@pytest.fixture
def copy(line: Line, path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the ledger, made large before, to restore it from."""
    with SessionStore.open(f"sqlite:///{path}", durability="normal") as store:
        for n in range(300):
            store.create(f"user {n}")
    return Path(shutil.copy(path, tmp_path_factory.mktemp("copy")))


def test_damaged_pages(line: Line, path: Path, copy: Path) -> None:
    with closing(apsw.Connection(str(path))) as connection:
        page = "SELECT pgoffset, pgsize FROM dbstat WHERE name = 'events' ORDER BY pageno DESC"
        places: list[Any] = connection.execute(page).fetchall()
    offset, size = places[0]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(b"\xa5" * size)
    found = [r for r in doctor(line) if r["code"] == "database_damaged"]
    assert found
    assert "restore it from a copy" in found[0]["remedy"]
    shutil.copy(copy, path)
    assert doctor(line) == []


@pytest.mark.parametrize("cut", [4096, 5000, 100_000])
def test_a_file_that_was_cut_off(line: Line, path: Path, copy: Path, cut: int) -> None:
    os.truncate(path, cut)
    assert "database_damaged" in codes(line)


# An update that passes an index by, as it would be if its pages had been lost.
PASS_BY_AN_INDEX = """
import apsw, sys

def connect():
    connection = apsw.Connection(sys.argv[1])
    connection.config(apsw.SQLITE_DBCONFIG_DEFENSIVE, 0)
    connection.execute("PRAGMA writable_schema = on")
    return connection

connection = connect()
where = "FROM sqlite_master WHERE name = 'ledger_live_rows_by_owner'"
index = connection.execute(f"SELECT type, name, tbl_name, rootpage, sql {where}").fetchall()[0]
connection.execute(f"DELETE {where}")
connection.close()
connection = connect()
connection.execute("UPDATE ledger_rows SET owner = 'x' || owner")
connection.execute("INSERT INTO sqlite_master VALUES (?, ?, ?, ?, ?)", index)
"""


def test_an_index_that_is_wrong(line: Line, path: Path) -> None:
    before = line("sessions").out
    children.run(PASS_BY_AN_INDEX, path)
    found = doctor(line)
    assert {r["code"] for r in found} == {"database_damaged", "row_differs"}
    command = found[0]["remedy"].rpartition(": ")[2]
    follow_advice(line, command.replace("python", sys.executable))
    assert codes(line) == {"row_differs"}
    follow_advice(line, found[-1]["remedy"])
    assert doctor(line) == []
    assert line("sessions").out == before


@pytest.mark.parametrize("name", sorted(queries.NAMES - {"ledger_meta"}))
def test_a_part_of_our_schema_that_went(line: Line, path: Path, name: str) -> None:
    before = line("sessions", "--state", "all").out
    with closing(apsw.Connection(str(path))) as connection:
        sql = "SELECT upper(type) FROM sqlite_master WHERE name = ?"
        (kind,) = connection.execute(sql, (name,)).fetchall()[0]
    bare_sqlite.execute(path, f"DROP {kind} {name}")
    finding = next(r for r in doctor(line) if r["code"] == "schema_incomplete")
    assert name in finding["problem"]
    follow_advice(line, finding["remedy"])
    assert doctor(line) == []
    assert line("sessions", "--state", "all").out == before
    assert line("history", "--principal", "alice").out.count("\n") == 2


def test_a_schema_of_before(line: Line, path: Path) -> None:
    for index, column in (("alias", "alias"), ("group", "group_name")):
        bare_sqlite.execute(path, f"DROP INDEX ledger_live_rows_by_{index}")
        bare_sqlite.execute(path, f"ALTER TABLE ledger_rows DROP COLUMN {column}")
    bare_sqlite.execute(path, "DROP INDEX ledger_rows_by_expiry")
    bare_sqlite.execute(path, "ALTER TABLE ledger_rows DROP COLUMN replaced")
    for trigger in ("ledger_rows_removed", "ledger_rows_rewritten"):
        bare_sqlite.execute(path, f"DROP TRIGGER {trigger}")
    bare_sqlite.execute(path, "DROP TABLE ledger_base")
    later = ("epoch", "since", "until", "superseded", "mark", "cut", "cut_hash", "seal", "writing")
    for column in later:
        bare_sqlite.execute(path, f"ALTER TABLE ledger_topics DROP COLUMN {column}")
    bare_sqlite.execute(path, "ALTER TABLE ledger_topics RENAME COLUMN reached TO folded")
    bare_sqlite.execute(path, "UPDATE ledger_meta SET value = 1")
    assert only(line, "schema_old")["severity"] == "note"
    assert line("rebuild").code == 0
    assert doctor(line) == []


def test_what_a_stranger_appended_while_the_triggers_were_gone(line: Line, path: Path) -> None:
    bare_sqlite.execute(path, "DROP TRIGGER ledger_head_moved")
    bare_sqlite.append(path, TOPIC, [LogEvent.of("session_expired", {}, occurred_at_ms=1)])
    found = codes(line)
    assert found >= {"schema_incomplete", "head_copy_stale", "rows_behind", "unchained_events"}
    assert line("rebuild").code == 0
    assert codes(line) == {"unchained_events", "nameless_event"}


def test_a_copied_head_that_is_wrong(line: Line, path: Path) -> None:
    bare_sqlite.execute(path, "UPDATE ledger_topics SET head = 3")
    finding = only(line, "head_copy_stale")
    follow_advice(line, finding["remedy"])
    assert doctor(line) == []


def test_a_ledger_that_only_the_reference_has_written(line: Line) -> None:
    path = line.folder / "sessions.db"
    for statement in queries.SCHEMA[:3]:
        bare_sqlite.execute(path, statement)
    path.chmod(0o600)
    assert [r["code"] for r in doctor(line)] == ["not_prepared"]
    bare_sqlite.append(path, TOPIC, [LogEvent.of("session_expired", {}, occurred_at_ms=1)])
    assert codes(line) == {"not_prepared", "rows_behind", "unchained_events", "nameless_event"}
    assert line("rebuild").code == 0
    assert codes(line) == {"unchained_events", "nameless_event"}


def test_a_log_that_was_cut_short(line: Line, path: Path) -> None:
    copy = shutil.copy(path, path.with_name("copy.db"))
    bare_sqlite.execute(path, "DELETE FROM events WHERE event_id > 2")
    assert codes(line) == {"events_missing", "row_differs", "row_surplus"}
    bare_sqlite.execute(path, "UPDATE topic_heads SET last_id = 2")
    finding = only(line, "log_cut_short")
    assert "restore" in finding["remedy"]
    shutil.copy(copy, path)
    assert doctor(line) == []


def test_an_event_beyond_the_head(line: Line, path: Path) -> None:
    bare_sqlite.execute(path, INSERT, 5, EXPIRED)
    assert codes(line) == {"events_beyond_head", "unchained_events"}


@pytest.mark.parametrize("id", ["'text'", "x'00'", "2.5", "1e300", "0", "-1"])
def test_an_event_under_an_id_that_is_none(line: Line, path: Path, id: str) -> None:
    bare_sqlite.execute(path, f"UPDATE events SET event_id = {id} WHERE event_id = 3")
    assert codes(line) == {"strange_ids", "chain_broken", "row_surplus"}


def test_heads_that_are_no_numbers(line: Line, path: Path) -> None:
    bare_sqlite.execute(path, "UPDATE ledger_topics SET reached = 'x', head = 'y'")
    assert codes(line) == {"head_copy_stale", "rows_behind", "row_surplus"}
    bare_sqlite.execute(path, "UPDATE topic_heads SET last_id = 'z'")
    assert "events_beyond_head" in codes(line)


def test_another_topic_has_rows_of_another_fold(line: Line, path: Path) -> None:
    with closing(open_log(f"sqlite:///{path}")) as log:
        log.fold_with("tallies", FOLD)
        log.append("tallies", [creation(b"key")])
    answer = line("doctor", "--topic", "tallies", "--json")
    assert (answer.code, answer.record["code"]) == (0, "unknown_kind")


def test_breaks_of_the_chain(line: Line, path: Path) -> None:
    bare_sqlite.execute(path, "UPDATE events SET occurred_at_ms = 0 WHERE event_id = 2")
    finding = only(line, "chain_broken")
    assert finding["subject"] == "event 2"
    assert "changed" in finding["problem"]
    bare_sqlite.execute(path, "DELETE FROM events WHERE event_id = 3")
    found = [r["subject"] for r in doctor(line) if r["code"] == "chain_broken"]
    assert found == ["event 2", "event 4"]


def test_a_writer_that_is_a_stranger(line: Line, path: Path) -> None:
    event = LogEvent.of("session_expired", {"token_handle": SEEN_HANDLE, "expired_at": "?"})
    bare_sqlite.append(path, TOPIC, [event] * 3)
    found = {r["code"]: r for r in doctor(line)}
    assert set(found) == {"unchained_events", "undecodable_event", "rows_behind"}
    assert found["unchained_events"]["subject"] == "event 5 and 2 more"
    assert found["rows_behind"]["subject"] == "events 5 to 7"
    assert line("rebuild").code == 0
    assert "rows_behind" not in codes(line)


def test_an_event_from_the_future(line: Line, path: Path) -> None:
    later = time.time_ns() // 1_000_000 + 10**9
    event = LogEvent.of("session_expired", json.loads(EXPIRED), occurred_at_ms=later)
    with closing(open_log(f"sqlite:///{path}")) as log:
        log.append(TOPIC, [Unit([Change(event)])])
    assert codes(line) == {"event_from_future", "rows_behind"}


def test_very_many_findings_stay_a_page(line: Line, path: Path) -> None:
    with SessionStore.open(f"sqlite:///{path}", durability="normal") as store:
        for _ in range(200):
            store.create("dave")
    bare_sqlite.execute(path, "UPDATE ledger_rows SET owner = 'mallory'")
    found = doctor(line)
    assert len(found) == MOST_SHOWN + 1
    assert found[-1]["subject"] == f"{203 - MOST_SHOWN} more"
    follow_advice(line, found[0]["remedy"])
    assert doctor(line) == []


def test_control_characters_are_shown_as_escapes(line: Line, screen: Screen) -> None:
    name = "red\x1b[31m.db"
    assert line("create", "alice", "--ledger", name).code == 0
    (line.folder / name).chmod(0o644)
    for options in ([], ["--json"]):
        answer = line("doctor", "--ledger", name, *options)
        assert answer.code == 1
        assert "\x1b" not in answer.out
        assert "\\x1b" in answer.out or "\\u001b" in answer.out
    seen = screen("doctor", "--ledger", name, NO_COLOR="1")
    assert "\x1b[31m" not in seen
    assert "\\x1b" in seen


def test_lines_and_a_table(line: Line, screen: Screen, path: Path) -> None:
    path.chmod(0o644)
    answer = line("doctor")
    assert answer.row[:3] == ["problem", "open_to_others", "sessions.db"]
    seen = screen("doctor")
    for word in ("severity", "what to do", "open_to_others", "chmod 600 sessions.db"):
        assert word in seen


def test_a_bar_shows_how_far_it_is(line: Line, screen: Screen, path: Path) -> None:
    program = (
        "import sys; from sessionledger.cli.output import progress\n"
        "progress.PATIENCE_SECONDS = -1\n"
        "from sessionledger.cli.main import main; sys.exit(main(['doctor']))"
    )
    seen = Screen(line, [sys.executable, "-c", program])()
    assert "examining" in seen
    assert "100%" in seen
    assert "nothing is wrong" in seen
    assert "examining" not in screen("doctor")


def test_it_can_be_interrupted(line: Line, path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from sessionledger.logs.sqlite import examination\n"
        "class View(examination._View):\n"
        "    def events(self, after, limit): os.kill(os.getpid(), signal.SIGINT); return []\n"
        "examination._View = View\n"
        "from sessionledger.cli.main import main; sys.exit(main(['doctor']))"
    )
    answer = line.program(program)
    assert (answer.code, answer.out) == (128 + signal.SIGINT, "")
    assert "Traceback" not in answer.err


WRITER = """
import sys
from sessionledger import SessionStore

with SessionStore.open("sqlite:///" + sys.argv[1], durability="normal") as store:
    print("ready", flush=True)
    while True:
        store.expire(store.create("dave").token)
"""


def test_others_may_write_meanwhile(line: Line, path: Path) -> None:
    with children.running(WRITER, path) as writer:
        assert writer.stdout
        writer.stdout.readline()
        with closing(open_log(f"sqlite:///{path}")) as log:
            for _ in range(5):
                head = log.latest(SESSIONS_TOPIC)
                assert doctor(line) == []
                assert log.wait(SESSIONS_TOPIC, head, PATIENCE) > head
