from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta

from sessionledger import Change, LogEvent, Unit, open_log
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
    states = {row[1]: row[2] for row in line("sessions", "--all").rows}
    assert states == {"alice": "live", "bob": "ended"}


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
        assert len(line("sessions", "--tree", "--all").rows) == 4
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
    assert line("history").code == 2


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
