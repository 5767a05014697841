from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from sessionledger import Change, LogEvent, Unit, open_log
from sessionledger.store.history import activity
from tests.cli.commands.test_authentication import long_ago
from tests.cli.commands.test_sessions import UNKNOWN
from tests.cli.running import Answer, Line
from tests.cli.screen import Screen


def test_sessions_of_everybody_and_of_one(line: Line) -> None:
    alice, bob = line.create("alice")[1], line.create("bob")[1]
    assert {row[0] for row in line("sessions").rows} == {alice, bob}
    (session,) = line("sessions", "--principal", "bob", "--json").records
    assert session["handle"] == bob
    line("revoke", "--handle", bob)
    assert [row[0] for row in line("sessions").rows] == [alice]
    states = {row[1]: row[2] for row in line("sessions", "--state", "all").rows}
    assert states == {"alice": "live", "bob": "ended"}


def test_sessions_by_state_and_address_and_how_many(line: Line) -> None:
    alice, bob = line.create("alice")[1], line.create("bob", "--context", "address=192.0.2.7")[1]
    assert [row[0] for row in line("sessions", "--newest-first").rows] == [bob, alice]
    assert [row[0] for row in line("sessions", "--address", "192.0.2.0/24").rows] == [bob]
    assert line("sessions", "--begun-before", "1h").rows == []
    line("revoke", "--handle", bob)
    assert [row[0] for row in line("sessions", "--state", "ended").rows] == [bob]
    counts = line("counts", "--json").record
    assert [counts[state] for state in ("live", "lapsed", "ended")] == [1, 0, 1]
    assert line("sessions", "--state", "gone").code == 2


def test_sessions_page_by_page(line: Line) -> None:
    handles = [line.create("alice")[1] for _ in range(3)]
    first = line("sessions", "--principal", "alice", "--limit", "2")
    assert [row[0] for row in first.rows] == handles[:2]
    cursor = first.err.removeprefix("more: --after ").strip()
    rest = line("sessions", "--principal", "alice", "--limit", "2", "--after", cursor)
    assert [row[0] for row in rest.rows] == handles[2:]
    assert rest.err == ""
    assert line("sessions", "--after", "no cursor").code == 2


def test_one_browser_is_one_entry_unless_the_rest_is_asked_for(line: Line) -> None:
    token, _ = line.create("alice")
    assert line("rotate", given=token).code == 0
    assert len(line("sessions").out.splitlines()) == 1
    assert len(line("sessions", "--superseded").out.splitlines()) == 2


def test_a_tree_shows_each_child_below_its_parent(line: Line, screen: Screen) -> None:
    alice, bob = line.create("alice")[1], line.create("bob")[1]
    agent = line.create("agent", "--parent", alice)[1]
    line.create("tool", "--parent", agent)
    shown = [
        (row["depth"], row["principal"]) for row in line("sessions", "--tree", "--json").records
    ]
    below = [(0, "alice"), (1, "agent"), (2, "tool")]
    assert shown in ([*below, (0, "bob")], [(0, "bob"), *below])
    rows = line("sessions", "--tree", "--principal", "alice").rows
    assert [(int(row[-1]), row[1]) for row in rows] == below
    for _ in range(2):  # with another listing than the live ones
        assert len(line("sessions", "--tree", "--state", "all").rows) == 4
        assert line("revoke", "--handle", bob).code == 0
    assert line("sessions", "--tree", "--external-id", "none").out == ""
    seen = screen("sessions", "--tree", "--principal", "alice")
    assert [seen.index(text) for text in ("alice", "└ agent", "  └ tool")] == sorted(
        seen.index(text) for text in ("alice", "└ agent", "  └ tool")
    )
    for page in (("--limit", "1"), ("--after", "x")):
        told = line("sessions", "--tree", *page)
        assert (told.code, told.out) == (2, "")
        assert "leave out --limit and --after" in told.err


def test_history_of_a_principal(line: Line) -> None:
    token, _ = line.create("alice")
    line("touch", given=token)
    line("expire", "--reason", "done", given=token)
    entries = line("history", "--principal", "alice", "--json").records
    assert [entry["kind"].removeprefix("session_") for entry in entries] == [
        "created",
        "touched",
        "expired",
    ]
    assert entries[2]["reason"] == "done"
    assert line("history", "--principal", "nobody").code == 1


def test_events_of_the_sessions(line: Line) -> None:
    handles = [line.create("alice")[1] for _ in range(3)]
    rows = line("events").rows
    assert [(row[0], row[1], row[3]) for row in rows] == [
        (str(at), "session_created", handle) for at, handle in enumerate(handles, 1)
    ]
    assert [row[0] for row in line("events", "--after", "1", "--limit", "1").rows] == ["2"]
    record = line("events", "--limit", "1", "--json").record
    assert record["payload"]["record"]["principal"] == "alice"
    assert "harn.provenance.record_hash" in record["headers"]


def test_events_of_any_topic(line: Line) -> None:
    with closing(open_log(f"sqlite:///{line.folder / 'sessions.db'}")) as log:
        event = LogEvent.of("said\t", ["hello\n", 1], occurred_at_ms=10**18)
        log.append("greetings", [Unit([Change(event)])])
    answer = line("events", "--topic", "greetings")
    assert answer.row[:5] == [
        "1",
        "said\\t",
        "9999-12-31T23:59:59.999999Z",
        "",
        '["hello\\n",1]',
    ]
    assert line("events", "--topic", "greetings", "--json").record["payload"] == ["hello\n", 1]
    assert line("events", "--topic", "silence").out == ""


def test_a_reader_that_leaves_early_is_no_error(line: Line) -> None:
    line.create()
    process = line.start("events", "--json")
    assert process.stdout
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr
    assert process.stderr.read() == b""
    process.communicate()


def test_what_was_stored_can_not_steer_the_terminal(line: Line) -> None:
    hostile = "\x1b[31m\u202e\x07\t\n[red]x"
    handle = line.create_unchecked("a[red]\u202eb", reason=hostile, context={"k": hostile})
    for arguments in (["sessions"], ["history", "--handle", handle], ["events"]):
        for json in ([], ["--json"]):
            answer = line(*arguments, *json)
            assert len(answer.out.splitlines()) == 1
            assert answer.out.replace("\t", "").removesuffix("\n").isprintable()
    assert line("history", "--handle", handle).row[4] == "\\x1b[31m\\u202e\\x07\\t\\n[red]x"


def test_an_ascii_stream_gets_escapes(line: Line) -> None:
    line.create("é")
    answer = line.process("sessions", PYTHONIOENCODING="ascii")
    assert answer.row[1] == "\\xe9"


def test_as_of(line: Line) -> None:
    with long_ago(line, timedelta(hours=2)) as store:
        issued = store.create("alice", attributes={"a": 1}, ttl=timedelta(minutes=30))
    assert line("patch", '{"a":2}', "--handle", issued.handle).code == 1, "it lapsed"
    line("revoke", "--handle", issued.handle)

    def at(hours: float) -> Answer:
        instant = datetime.now(UTC) - timedelta(hours=hours)
        return line("as-of", "--handle", issued.handle, "--at", instant.isoformat(), "--json")

    told = [(at(hours).record["state"], at(hours).record["version"]) for hours in (1.9, 1, -1)]
    assert told == [("live", 1), ("lapsed", 1), ("ended", 2)]
    assert at(3).code == 1
    assert line("as-of", "--handle", UNKNOWN, "--at", "2999-01-01T00:00:00Z").code == 1


def test_bad_input_to_as_of(line: Line) -> None:
    _, handle = line.create()
    for options in (["--at", "yesterday", "--handle", handle], ["--handle", handle]):
        assert line("as-of", *options).code == 2


def test_history_page_by_page(line: Line) -> None:
    for _ in range(3):
        line("create", "alice")
    whole = line("history", "--principal", "alice", "--json").records
    first = line("history", "--principal", "alice", "--limit", "2", "--json")
    assert (first.records, first.err) == (whole[:2], f"more: --after {whole[1]['event_id']}\n")
    after = first.err.split()[-1]
    rest = line("history", "--principal", "alice", "--after", after, "--limit", "1", "--json")
    assert (rest.records, rest.err) == (whole[2:], "")


def test_the_history_of_everybody_is_filtered_and_turned_round(line: Line) -> None:
    alice = line.create("alice")[1]
    line.create("bob")
    line("revoke", "--handle", alice, "--actor", "support", "--reason", "stolen")
    whole = line("history", "--json").records
    assert [entry["principal"] for entry in whole] == ["alice", "bob", "alice"]
    assert line("history", "--newest-first", "--json").records == whole[::-1]
    for filters, count in (
        (["--actor", "support"], 1),
        (["--kind", "session_created"], 2),
        (["--kind", "session_created", "--principal", "alice"], 1),
        (["--cause", "revoked", "--handle", alice], 1),
        (["--cause", "lapsed", "--handle", alice], 0),
        (["--since", "1h"], 3),
        (["--until", "1h"], 0),
        (["--since", "2026-05-02T12:00:00+02:00"], 3),
    ):
        answer = line("history", *filters, "--json")
        assert (answer.code, len(answer.records), answer.err) == (0, count, "")
    page = line("history", "--newest-first", "--limit", "2", "--json")
    assert (page.records, page.err) == (whole[:0:-1], f"more: --after {whole[1]['event_id']}\n")
    rest = line("history", "--newest-first", "--after", page.err.split()[-1], "--json")
    assert rest.records == whole[:1]


def test_the_actor_of_a_filter_is_not_that_of_the_environment(line: Line) -> None:
    line.create("alice")
    assert len(line("history", SESSIONLEDGER_ACTOR="support").rows) == 1


def test_what_history_can_not_take_is_named(line: Line) -> None:
    line.create("alice")
    for arguments, told in (
        (["--kind", "login"], "kind must be one of session_created, "),
        (["--cause", "boredom"], "cause must be one of revoked, "),
        (["--since", "yesterday"], "--since: a time is written like 2030-01-31T12:00:00Z"),
        (["--since", "1h", "--until", "2h"], "until must be later than since"),
        (["--since", "99999999999d"], "--since: a time is written like"),
        (["--archive", "there"], "archive needs a handle or a principal"),
    ):
        answer = line("history", *arguments)
        assert (answer.code, answer.out) == (2, "")
        assert told in answer.err


def test_activity_counts_by_hours_and_days(line: Line, screen: Screen) -> None:
    alice = line.create("alice")[1]
    line.create("bob")
    line("revoke", "--handle", alice)
    hours = line("activity", "--json").records
    assert len(hours) == 25
    assert sum(hour["begun"] for hour in hours) == 2
    assert [hour["ended"] for hour in hours if hour["ended"]] == [{"revoked": 1}]
    days = line("activity", "--since", "2d", "--per", "day").rows
    assert len(days) == 3
    assert sum(int(day[1]) for day in days) == 2
    seen = screen("activity", "--since", "2h")
    assert "█" * 20 in seen
    assert "1 revoked" in seen
    refused = line("activity", "--per", "week")
    assert (refused.code, refused.err) == (2, "error: per must be one of hour, day\n")


def test_activity_goes_on_until_all_is_counted(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(7):
        line.create("alice")
    monkeypatch.setattr(activity, "EVENT_PAGE", 2)
    monkeypatch.setattr(activity, "MOST_COUNTED", 2)
    answer = line("activity", "--json")
    assert sum(hour["begun"] for hour in answer.records) == 7
    assert answer.err == ""
