from __future__ import annotations

import json

import pytest

from tests.addresses import HOLDING_A_SECRET, SECRET, UNREADABLE
from tests.cli.running import Line


def test_head(line: Line) -> None:
    line.create()
    head = line("head").out.strip()
    record = line("head", "--json").record
    assert head == record["head"] == f"orchestrator.sessions:1:{record['hash']}"


def test_verify_and_an_earlier_head(line: Line) -> None:
    line.create()
    head = line("head").out.strip()
    line.create()
    answer = line("verify", "--expect", head, "--json")
    assert answer.code == 0
    assert answer.record["ok"]
    assert answer.record["events"] == 2
    assert line("verify", "--expect", "gibberish").code == 2


def test_verify_finds_a_log_that_was_cut_short(line: Line) -> None:
    line.create()
    answer = line("verify", "--expect", "orchestrator.sessions:7:sha256:00", "--json")
    assert answer.code == 1
    assert answer.record["broken_id"] == 7


def test_verify_names_the_event_that_was_changed(line: Line) -> None:
    handle = [line.create("alice")[1] for _ in range(3)][1]
    path = line.folder / "sessions.db"
    content = path.read_bytes()
    event = f'"principal":"alice","token_handle":"{handle}"'.encode()
    path.write_bytes(content.replace(event, event.replace(b"alice", b"Alice")))
    answer = line("verify")
    assert answer.code == 1
    assert answer.row[0] == "false"
    assert answer.row[3] == "2"
    assert "changed" in answer.row[4]


def test_rebuild_gives_the_same_sessions(line: Line) -> None:
    token, _ = line.create()
    line.create("bob")
    line("expire", given=token)
    before = line("sessions", "--state", "all").out
    assert line("rebuild").out == "3\n"
    assert line("rebuild", "--json").record == {"events": 3}
    assert line("sessions", "--state", "all").out == before


def test_a_folder_is_a_ledger_of_files(line: Line) -> None:
    folder = line.folder / "events"
    answer = line("create", "alice", "--ledger", f"file://{folder}", "--json")
    assert answer.code == 0, answer.err
    for ledger in ("events", "./events/", str(folder), f"file://{folder}", "file:events"):
        assert line("sessions", "--ledger", ledger).rows[0][1] == "alice", ledger
    assert line("stats", "--ledger", "events", "--json").record["backend"] == "file"
    assert not (line.folder / "sessions.db").exists()


@pytest.mark.parametrize("url", ["file:nowhere", "file:{}/nowhere", "FILE://{}/nowhere"])
def test_asking_about_a_folder_that_is_not_there_makes_none(line: Line, url: str) -> None:
    answer = line("sessions", "--ledger", url.format(line.folder))
    assert answer.code == 4
    assert "no ledger at" in answer.err
    assert list(line.folder.iterdir()) == []


def test_stats(line: Line) -> None:
    token, _ = line.create()
    line.create("bob")
    line("expire", given=token)
    names = dict(line("stats").rows)
    assert (names["events"], names["sessions"], names["live"]) == ("3", "2", "1")
    record = line("stats", "--json").record
    assert (record["events"], record["sessions"], record["live"]) == (3, 2, 1)
    assert record["backend"] == "sqlite"


@pytest.mark.parametrize("command", ["head", "verify", "rebuild", "stats", "sessions"])
def test_errors_in_json(line: Line, command: str) -> None:
    answer = line(command, "--json")
    assert answer.code == 4
    assert set(json.loads(answer.err)) == {"error", "message"}


@pytest.mark.sampled
@pytest.mark.parametrize("address", HOLDING_A_SECRET)
@pytest.mark.parametrize("command", ["get", "stats", "serve"])
def test_a_password_is_taken_from_a_variable_only(line: Line, command: str, address: str) -> None:
    given = line.process(command, "--ledger", address, given="x" * 40)
    assert given.code == 2
    assert "SESSIONLEDGER_URL" in given.err
    hidden = line.process(command, given="x" * 40, SESSIONLEDGER_URL=address)
    assert hidden.code != 2
    assert "127.0.0.1" in hidden.err
    assert SECRET not in given.err + hidden.err + hidden.out


@pytest.mark.sampled
@pytest.mark.parametrize("address", UNREADABLE)
@pytest.mark.parametrize("command", ["get", "stats", "serve"])
def test_an_address_that_can_not_be_read_is_not_repeated(
    line: Line, command: str, address: str
) -> None:
    given = line.process(command, "--ledger", address, given="x" * 40)
    hidden = line.process(command, given="x" * 40, SESSIONLEDGER_URL=address)
    for answer in (given, hidden):
        assert answer.code == 2
        assert "%40" in answer.err
        assert SECRET not in answer.err + answer.out
