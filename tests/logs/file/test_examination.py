"""What a doctor finds in a ledger of files; nothing is changed by looking."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import LogEvent, LogUnavailable, SessionStore, diagnose
from sessionledger.findings import Finding
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import PATIENCE
from tests.logs import bare_file
from tests.logs.children import running
from tests.logs.file.locations import durable_file, sessions_file, store_on, url_of


@pytest.fixture
def sick(root: Path) -> Path:
    """A ledger of three sessions, one of them ended, which is well yet."""
    with store_on(root) as store:
        tokens = [store.create(name).token for name in ("alice", "bob", "carol")]
        store.expire(tokens[0])
        store._log.ack(SESSIONS_TOPIC, "mailer", 2)
    return root


@pytest.fixture
def contents(sick: Path) -> Iterator[None]:
    """Looking is to change nothing; the lock file may be asked for."""
    yield
    before = content_of(sick)
    diagnose(url_of(sick))
    assert content_of(sick) == before


def content_of(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def found(root: Path) -> dict[str, Finding]:
    findings = diagnose(url_of(root))
    assert len({one.code for one in findings}) == len(findings)
    return {one.code: one for one in findings}


def test_a_ledger_that_is_well(sick: Path, contents: None) -> None:
    assert found(sick) == {}
    with store_on(sick) as store:
        assert store.diagnose() == []
        assert store.count() == 2
        assert store.diagnose() == []


def test_rows_that_nobody_asked_for_are_not_behind(sick: Path, contents: None) -> None:
    with store_on(sick) as store:
        assert len(list(store.events())) == 4
        assert store.diagnose() == []


def test_a_tail_that_is_torn_is_cut_by_the_next_reader(sick: Path, contents: None) -> None:
    with sessions_file(sick).open("ab") as file:
        file.write(b'{"id":5,"event":{"ki')
    assert "20 bytes" in found(sick)["torn_tail"].problem
    with store_on(sick) as store:
        assert store.count() == 2
    assert found(sick) == {}


def test_a_log_that_was_cut_short(sick: Path, contents: None) -> None:
    lines = sessions_file(sick).read_bytes().splitlines(keepends=True)
    sessions_file(sick).write_bytes(b"".join(lines[:3]))
    assert list(found(sick)) == ["log_cut_short"]
    sessions_file(sick).unlink()
    assert list(found(sick)) == ["log_cut_short"]
    # What it advises, with the copy that there is.
    sessions_file(sick).write_bytes(b"".join(lines[:3]))
    sessions_file(sick).chmod(0o600)
    shutil.rmtree(sick / "durable")
    assert found(sick) == {}


def test_a_line_that_can_t_be_read(sick: Path, contents: None) -> None:
    text = sessions_file(sick).read_bytes()
    sessions_file(sick).write_bytes(text.replace(b'"expired_at"', b'"expired_at ', 1))
    codes = found(sick)
    assert codes["undecodable_event"].subject == "event 4"
    assert "fails closed" in codes["undecodable_event"].problem


def test_an_event_whose_kind_was_altered(sick: Path, contents: None) -> None:
    text = sessions_file(sick).read_bytes()
    sessions_file(sick).write_bytes(text.replace(b"session_expired", b"session_expirex"))
    assert set(found(sick)) == {"chain_broken", "undecodable_event"}


def test_what_the_reference_appended(sick: Path, contents: None) -> None:
    with store_on(sick) as store:
        (event,) = list(store.events())[:1]
        assert store.count() == 2
        again = LogEvent(event.kind, event.payload, {}, event.occurred_at_ms)
        bare_file.append(sick, SESSIONS_TOPIC, [again])
        codes = {one.code for one in store.diagnose()}
        assert {"rows_behind"} <= codes
        assert store.count() == 2
        assert "rows_behind" not in {one.code for one in store.diagnose()}


def test_modes_that_let_others_in(sick: Path, contents: None) -> None:
    sessions_file(sick).chmod(0o644)
    (sick / "topics").chmod(0o777)
    codes = found(sick)
    assert set(codes) == {"open_to_others", "folder_open_to_others"}
    assert codes["open_to_others"].remedy == f"chmod 600 {sessions_file(sick)}"


def test_a_cursor_that_can_t_be_read(sick: Path, contents: None) -> None:
    (cursor,) = (sick / "consumers").iterdir()
    cursor.write_text("{")
    assert found(sick)["cursor_damaged"].subject == str(cursor)


IN_FLIGHT = """
import os, sys
from sessionledger import SessionStore
from sessionledger.logs.file import FileLog

def sync(file):
    print("written", flush=True)
    sys.stdin.readline()

SessionStore(FileLog(sys.argv[1], sync=sync)).create("dave")
"""


def test_a_batch_in_flight_is_not_looked_at(sick: Path) -> None:
    with running(IN_FLIGHT, sick) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "written\n"
        assert found(sick) == {}
        writer.kill()
        writer.wait(PATIENCE)
    assert found(sick) == {}
    with store_on(sick) as store:
        assert store.count() == 3


def test_a_ledger_that_is_not_there(root: Path) -> None:
    with pytest.raises(LogUnavailable, match="no ledger"):
        diagnose(url_of(root))
    assert not root.exists()


def test_a_store_says_the_same_of_a_log_that_is_open(sick: Path) -> None:
    durable_file(sick, SESSIONS_TOPIC).unlink()
    with SessionStore.open(url_of(sick)) as store:
        assert store.diagnose() == []
