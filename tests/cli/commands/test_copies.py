from __future__ import annotations

from tests.cli.running import Line


def test_a_backup_is_restored_into_another_ledger(line: Line) -> None:
    token, handle = line.create("alice")
    answer = line("backup", "monday.backup", "--json")
    assert answer.code == 0
    assert answer.record["ok"]
    assert answer.record["heads"] == [line("head").out.strip()]
    restored = line("restore", "monday.backup", "--ledger", "new.db", "--json").record
    (topic,) = restored["topics"]
    assert (topic["events"], topic["ended"]) == (1, 1)
    head = line("head", "--ledger", "new.db").out
    assert head.startswith(f"orchestrator.sessions:{topic['restored'] + 1}:")
    assert line("verify", "--ledger", "new.db").code == 0
    assert line("sessions", "--ledger", "new.db").out == ""
    assert line("get", "--ledger", "new.db", given=token).code == 1
    history = line("history", "--handle", handle, "--ledger", "new.db", "--json").records
    assert [entry["kind"] for entry in history] == ["session_created", "everybody_revoked"]


def test_a_backup_is_no_ledger_and_a_ledger_is_no_backup(line: Line) -> None:
    line.create()
    line("backup", "monday.backup")
    refused = line("sessions", "--ledger", "monday.backup")
    assert (refused.code, "sessionledger restore" in refused.err) == (4, True)
    assert line("backup", "monday.backup").code == 4
    assert line("restore", "sessions.db", "--ledger", "new.db").code == 4
    assert line("restore", "missing", "--ledger", "new.db").code == 4
    assert line("restore", "monday.backup").code == 4
    assert not (line.folder / "new.db").exists()


def test_a_cursor_of_events_that_are_lost_is_refused(line: Line) -> None:
    line.create()
    line("backup", "monday.backup")
    line.create()
    line("restore", "monday.backup", "--ledger", "new.db")
    refused = line("watch", "--after", "2", "--ledger", "new.db")
    assert (refused.code, "go on after 1" in refused.err) == (3, True)
