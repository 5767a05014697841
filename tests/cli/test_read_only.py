"""The commands that only read, on a ledger that may be read and not written."""

from __future__ import annotations

import os

import pytest

from sessionledger import LogEvent, SessionStore
from sessionledger.store.engine import SESSIONS_TOPIC
from tests import postgres_server
from tests.cli.locked import AS_NOBODY, contents, lock
from tests.cli.running import Line
from tests.logs import bare_sqlite

READING = [
    ("verify",),
    ("sessions", "--state", "all"),
    ("sessions", "--principal", "bob"),
    ("history", "--principal", "alice"),
    ("history", "--newest-first", "--since", "1h"),
    ("activity",),
    ("events",),
    ("head",),
    ("as-of", "--at", "2100-01-01T00:00:00Z", "--handle"),
    ("get", "--handle"),
    ("keys", "list"),
]


def handle_of_alice(line: Line) -> str:
    with SessionStore.open(f"sqlite:///{line.folder}/sessions.db") as store:
        return next(iter(store.sessions(principal="alice"))).handle


@pytest.mark.sampled
@pytest.mark.parametrize("command", READING, ids=" ".join)
def test_who_may_only_read_is_answered_as_the_owner_is(
    locked: Line, command: tuple[str, ...]
) -> None:
    locked.folder.chmod(0o755)
    if command[-1] == "--handle":
        command = (*command, handle_of_alice(locked))
    answer = locked(*command, "--json")
    assert answer.code == 0
    lock(locked.folder)
    before = contents(locked.folder)
    seen = locked.program(AS_NOBODY, *command, "--json")
    assert (seen.code, seen.out, seen.err) == (0, answer.out, "")
    assert contents(locked.folder) == before


def test_stats_say_that_it_is_only_read(locked: Line) -> None:
    seen = locked.program(AS_NOBODY, "stats", "--json")
    assert (seen.record["sessions"], seen.record["writable"]) == (2, False)


@pytest.mark.sampled
@pytest.mark.parametrize("command", ["verify", "sessions"])
def test_what_its_owner_has_just_written_is_seen(locked: Line, command: str) -> None:
    if os.getuid():
        pytest.skip("its owner may not write it either")
    with SessionStore.open(f"sqlite:///{locked.folder}/sessions.db") as store:
        created = store.create("dave")
        lock(locked.folder)
        seen = locked.program(AS_NOBODY, command, "--json")
        assert seen.code == 0, seen.err
        told = {"verify": str(store.head()), "sessions": created.handle}
        assert told[command] in seen.out


def test_without_the_shared_index_the_error_says_what_it_takes(locked: Line) -> None:
    if os.getuid():
        pytest.skip("its owner may not write it either")
    with SessionStore.open(f"sqlite:///{locked.folder}/sessions.db") as store:
        store.create("dave")
        lock(locked.folder)
        (locked.folder / "sessions.db-shm").chmod(0o600)
        seen = locked.program(AS_NOBODY, "verify", "--json")
    assert (seen.code, seen.out) == (4, "")
    assert "sessions.db-shm" in seen.err


@pytest.mark.middle
def test_rows_that_have_yet_to_be_folded_are_folded_in_memory(locked: Line) -> None:
    locked.folder.chmod(0o755)
    path = locked.folder / "sessions.db"
    path.chmod(0o600)
    handle = handle_of_alice(locked)
    ended = {"token_handle": handle, "expired_at": "2026-01-01T00:00:00Z"}
    bare_sqlite.append(path, SESSIONS_TOPIC, [LogEvent.of("session_expired", ended)])
    lock(locked.folder)
    before = contents(locked.folder)
    assert handle not in locked.program(AS_NOBODY, "sessions").out
    assert locked.program(AS_NOBODY, "get", "--handle", handle).code == 1
    assert "session_expired" in locked.program(AS_NOBODY, "history", "--handle", handle).out
    assert contents(locked.folder) == before
    assert locked.program(AS_NOBODY, "events", "--json").records[-1]["handle"] == handle


@pytest.mark.sampled
@pytest.mark.parametrize("command", [("create", "eve"), ("sweep",), ("rebuild",)])
def test_who_may_only_read_changes_nothing(locked: Line, command: tuple[str, ...]) -> None:
    before = contents(locked.folder)
    seen = locked.program(AS_NOBODY, *command)
    assert (seen.code, seen.out) == (4, "")
    assert "no permission to read and write" in seen.err
    assert contents(locked.folder) == before


ON_NOTHING = [
    *READING,
    ("stats",),
    ("doctor",),
    ("events", "--follow"),
    ("watch",),
    ("sweep",),
    ("rebuild",),
    ("revoke-all", "--principal", "alice"),
]


@pytest.mark.parametrize("command", ON_NOTHING, ids=" ".join)
@pytest.mark.parametrize("there", ["nothing", "an empty file", "an empty folder"])
def test_a_ledger_that_is_not_there_is_no_answer_and_is_not_made(
    line: Line, command: tuple[str, ...], there: str
) -> None:
    url = "file:sessions.db" if there == "an empty folder" else "sqlite:///sessions.db"
    if there == "an empty file":
        (line.folder / "sessions.db").touch()
    if there == "an empty folder":
        (line.folder / "sessions.db").mkdir()
    if command[-1] == "--handle":
        command = (*command, "sha256:v1:" + "0" * 64)
    seen = line(*command, "--json", "-l", url)
    assert (seen.code, seen.out) == (4, "")
    assert '"no_ledger"' in seen.err
    made = {path.name for path in line.folder.rglob("*")}
    assert made == (set() if there == "nothing" else {"sessions.db"})


@pytest.mark.parametrize("command", ON_NOTHING, ids=" ".join)
@pytest.mark.middle
def test_a_schema_that_is_misspelt_is_named_and_not_made(
    line: Line, command: tuple[str, ...]
) -> None:
    url = f"{postgres_server.server()}&schema=misspelt"
    if command[-1] == "--handle":
        command = (*command, "sha256:v1:" + "0" * 64)
    seen = line(*command, SESSIONLEDGER_URL=url)
    assert (seen.code, seen.out) == (4, "")
    assert "'misspelt'" in seen.err
    found = "SELECT count(*) FROM pg_namespace WHERE nspname = 'misspelt'"
    assert postgres_server.execute(found) == [(0,)]


def test_a_topic_without_events_is_no_proof(line: Line) -> None:
    line.create("alice")
    assert line("verify").code == 0
    seen = line("verify", "--topic", "orchestrator.session")
    assert (seen.code, seen.out) == (1, "")
    assert "nothing to verify: orchestrator.session holds no event" in seen.err


@pytest.mark.parametrize("kind", ["sqlite", "file"])
def test_commands_that_read_leave_every_file_as_it_was(line: Line, kind: str) -> None:
    url = "sqlite:///sessions.db" if kind == "sqlite" else "file:events"
    line("create", "alice", "-l", url)
    for file in line.folder.rglob("*lock"):
        file.unlink()
    before = {path: path.lstat() for path in [line.folder, *line.folder.rglob("*")]}
    for command in (
        *READING[:6],
        ("stats",),
        ("doctor",),
        ("watch", "--limit", "1", "--after", "0"),
    ):
        assert line(*command, "-l", url).code in (0, 1), command
    after = {path: path.lstat() for path in [line.folder, *line.folder.rglob("*")]}
    assert after.keys() == before.keys()
    for path, was in before.items():
        now = after[path]
        assert (now.st_mode, now.st_uid, now.st_size, now.st_ino) == (
            *(was.st_mode, was.st_uid, was.st_size, was.st_ino),
        )
