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


def test_a_ledger_is_copied_and_then_moved(line: Line) -> None:
    token, _ = line.create("alice")
    head = line("head").out.strip()
    copied = line("copy", "sessions.db", "file:copied", "--json").record
    assert (copied["moved"], copied["heads"]) == (False, [head])
    assert line("get", "--ledger", "copied", given=token).code == 0
    refused = line("copy", "sessions.db", "file:copied")
    assert (refused.code, "name a ledger that has none" in refused.err) == (4, True)
    moved = line("copy", "copied", "new.db", "--cut-over", "--json").record
    assert (moved["moved"], moved["heads"]) == (True, [head])
    for command in (("head",), ("create", "bob"), ("doctor",)):
        left = line(*command, "--ledger", "copied")
        assert (left.code, moved["to"] in left.err) == (4, True)
    assert line("get", "--ledger", "new.db", given=token).code == 0
    assert line("copy", "missing.db", "other.db").code == 4


def test_a_copy_for_the_reference_says_what_it_can_not_know(line: Line) -> None:
    _, handle = line.create("alice")
    told = line("copy", "sessions.db", "file:plain", "--for-reference", "--json").record
    assert (told["live"], told["ended"], told["forgotten"]) == (1, 0, False)
    (text,) = (line.folder / "plain/topics/orchestrator.sessions.jsonl").read_text().splitlines()
    assert handle in text
    refused = line("copy", "sessions.db", "file:other", "--for-reference", "--follow")
    assert (refused.code, "no other option" in refused.err) == (2, True)
