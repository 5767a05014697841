"""The commands that only read, on a ledger that may be read and not written."""

from __future__ import annotations

import os

import pytest

from sessionledger import LogEvent, SessionStore
from sessionledger.store.engine import SESSIONS_TOPIC
from tests.cli.locked import AS_NOBODY, contents, lock
from tests.cli.running import Line
from tests.logs import bare_sqlite

READING = [
    ("verify",),
    ("sessions", "--all"),
    ("sessions", "--principal", "bob"),
    ("history", "--principal", "alice"),
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
def test_rows_that_have_yet_to_be_folded_are_not_told_as_they_are(locked: Line) -> None:
    locked.folder.chmod(0o755)
    path = locked.folder / "sessions.db"
    path.chmod(0o600)
    handle = handle_of_alice(locked)
    ended = {"token_handle": handle, "expired_at": "2026-01-01T00:00:00Z"}
    bare_sqlite.append(path, SESSIONS_TOPIC, [LogEvent.of("session_expired", ended)])
    lock(locked.folder)
    for command in (("sessions",), ("get", "--handle", handle), ("history", "--handle", handle)):
        seen = locked.program(AS_NOBODY, *command)
        assert (seen.code, seen.out) == (4, "")
        assert "yet to be folded" in seen.err
    assert locked.program(AS_NOBODY, "events", "--json").records[-1]["handle"] == handle


@pytest.mark.sampled
@pytest.mark.parametrize("command", [("create", "eve"), ("sweep",), ("rebuild",), ("watch",)])
def test_who_may_only_read_changes_nothing(locked: Line, command: tuple[str, ...]) -> None:
    before = contents(locked.folder)
    seen = locked.program(AS_NOBODY, *command)
    assert (seen.code, seen.out) == (4, "")
    assert "no permission to read and write" in seen.err
    assert contents(locked.folder) == before
