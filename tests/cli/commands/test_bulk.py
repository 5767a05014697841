"""The commands that end many sessions, and the limits at creation."""

from __future__ import annotations

import json
import os
import pty
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from sessionledger import Change, LogEvent, Unit, open_log
from tests.cli.commands.test_authentication import long_ago
from tests.cli.commands.test_sessions import UNKNOWN
from tests.cli.running import COMMAND, Line
from tests.cli.screen import Screen


def states(line: Line, *options: str) -> dict[str, str]:
    return {row[0]: row[2] for row in line("sessions", "--state", "all", *options).rows}


def test_revoke_all_of_a_principal(line: Line) -> None:
    alice = [line.create("alice")[1] for _ in range(3)]
    bob = line.create("bob")[1]
    answer = line("revoke-all", "--principal", "alice", "--reason", "account closed")
    assert (answer.code, answer.out) == (0, "3\n")
    assert states(line) == dict.fromkeys(alice, "ended") | {bob: "live"}
    assert line("history", "--handle", alice[0]).rows[-1][4] == "account closed"
    assert line("revoke-all", "--principal", "alice", "--json").record == {"ended": 0}


def test_revoke_all_but_some(line: Line) -> None:
    first, second, third = (line.create("alice")[1] for _ in range(3))
    options = ["--keep", first, "--keep", third]
    assert line("revoke-all", "--principal", "alice", *options).out == "1\n"
    assert states(line) == {first: "live", second: "ended", third: "live"}


def test_revoke_everybody(line: Line) -> None:
    handles = [line.create(name)[1] for name in ("alice", "bob")]
    answer = line("revoke-everybody", "--yes", "--reason", "leak")
    assert (answer.code, answer.out) == (0, "3\t2\n")
    assert "event 3 ended every session" in answer.err
    assert states(line) == dict.fromkeys(handles, "ended")
    assert line("history", "--handle", handles[0]).rows[-1][4] == "leak"
    assert line("revoke-everybody", "--yes", "--json").record["ended"] == 0


def test_revoke_everybody_asks_first(line: Line) -> None:
    line.create("alice")
    answer = line("revoke-everybody")
    assert (answer.code, answer.out) == (2, "")
    assert "--yes" in answer.err
    assert list(states(line).values()) == ["live"]


def test_erase(line: Line) -> None:
    alice, bob = (line.create(name)[1] for name in ("alice", "bob"))
    line("revoke", "--handle", bob, "--actor", "alice")
    answer = line("erase", "--principal", "alice", "--yes", "--json")
    assert answer.code == 0
    assert (answer.record["sessions"], answer.record["events"]) == (1, 1)
    assert answer.record["mentions"] == [
        {
            "topic": "orchestrator.sessions",
            "event_id": 3,
            "handle": bob,
            "where": ["sessionledger.actor"],
        }
    ]
    assert alice not in states(line)
    assert line("verify", "--json").record["erased"] == 1
    again = line("erase", "--principal", "alice", "--mentions", "--yes", "--json").record
    assert (again["events"], again["mentions"]) == (1, [])
    assert line("erase", "--handle", bob, "--yes", "--json").record["sessions"] == 1
    assert line("stats", "--json").record["erasure_pending"] is False


def test_erase_names_the_endpoints_that_are_for_the_principal(line: Line) -> None:
    line("create", "alice")
    told = [
        line("webhooks", "add", "https://hooks.example.com", *for_whom, "--json").record["id"]
        for for_whom in (["--principal", "alice", "--principal", "bob"], ["--principal", "bob"], [])
    ]
    answer = line("erase", "--principal", "alice", "--yes")
    assert answer.code == 0
    assert [id in answer.err for id in told] == [True, False, False]
    line("webhooks", "remove", told[0])
    assert told[0] not in line("erase", "--principal", "alice", "--yes").err


def test_what_was_erased_is_erased_again_in_a_restored_ledger(line: Line) -> None:
    alice = line.create("alice")[1]
    bob = line.create("bob")[1]
    line("backup", "older")
    line("erase", "--principal", "alice", "--yes")
    register = line("erasures", "export")
    assert (register.code, register.out) == (0, f"{alice}\n")
    (line.folder / "register").write_text(register.out)
    there = ("-l", "restored.db")
    assert line("restore", "older", "--erased", "register", *there).code == 0
    assert line("sessions", "--state", "all", "--json", *there).record["handle"] == bob
    missing = line("restore", "older", "--erased", "nothing", "-l", "second.db")
    assert (missing.code, "--erased" in missing.err) == (2, True)


@pytest.mark.parametrize("named", [["--principal", "alice"], ["--yes"], ["--handle", "alice"]])
def test_erase_asks_first_and_needs_a_name(line: Line, named: list[str]) -> None:
    line.create("alice")
    answer = line("erase", *named)
    assert (answer.code, answer.out) == (2, "")
    assert list(states(line).values()) == ["live"]


def test_revoke_where(line: Line) -> None:
    admin = '{"role":"admin"}'
    alice = line.create("alice", "--attributes", admin, "--context", "address=192.0.2.7")[1]
    bob = line.create("bob", "--attributes", admin, "--context", "address=198.51.100.7")[1]
    carol = line.create("carol", "--external-id", "sid-1")[1]
    chosen = ["--attributes", admin, "--address-in", "192.0.2.0/24"]
    assert line("revoke-where", *chosen, "--dry-run", "--json").record == {"selected": 1}
    assert states(line) == dict.fromkeys((alice, bob, carol), "live")
    assert line("revoke-where", *chosen, "--yes", "--reason", "leak").out == "1\n"
    assert states(line) == {alice: "ended", bob: "live", carol: "live"}
    assert line("history", "--handle", alice).rows[-1][4] == "leak"
    several = ["--principal", "bob", "--principal", "carol", "--begun-after", "2020-01-01T00:00Z"]
    assert line("revoke-where", *several, "--yes", "--json").record == {"ended": 2}
    assert line("revoke-where", *several).out == "0\n", "there is nothing to ask for"


TOPIC = b"orchestrator.sessions\n"
TYPED = {
    "everybody-other": ("revoke-everybody", b"yes\n", 2, b""),
    "everybody-number": ("revoke-everybody", b"3\n", 2, b""),
    "everybody-nothing": ("revoke-everybody", b"\n", 2, b""),
    "everybody-end": ("revoke-everybody", b"\4", 2, b""),
    "everybody": ("revoke-everybody", TOPIC, 0, b"4\t3\n"),
    "where-other": ("revoke-where --principal alice", b"2\n", 2, b""),
    "where-topic": ("revoke-where --principal alice", TOPIC, 2, b""),
    "where-end": ("revoke-where --principal alice", b"\4", 2, b""),
    "where": ("revoke-where --principal alice", b"3\n", 0, b"3\n"),
}


@pytest.mark.parametrize(("command", "typed", "code", "out"), TYPED.values(), ids=TYPED)
def test_what_ends_many_tells_how_many_and_has_a_word_typed(
    line: Line, command: str, typed: bytes, code: int, out: bytes
) -> None:
    for _ in range(3):
        line.create("alice")
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    done = subprocess.run(
        [*COMMAND, *command.split()],
        stdin=theirs,
        capture_output=True,
        cwd=line.folder,
        env=line.environment(),
        check=False,
        timeout=60,
    )
    os.close(ours)
    os.close(theirs)
    assert (done.returncode, done.stdout) == (code, out)
    what, word = ("3 live sessions", TOPIC.strip()) if "every" in command else ("3 sessions", b"3")
    assert what.encode() + b" will end. Type " + word + b" to go on:" in done.stderr
    assert (b"nothing was ended" in done.stderr) == bool(code)
    assert set(states(line).values()) == {"live" if code else "ended"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "revoke_everybody"),
        (["--principal", "alice"], "--yes"),
        (["--address-in", "192.0.2.7/24", "--yes"], "address_in"),
        (["--attributes", "role", "--yes"], "JSON"),
        (["--begun-before", "2020-01-01", "--yes"], "--begun-before"),
    ],
)
def test_bad_input_to_revoke_where(line: Line, options: list[str], said: str) -> None:
    line.create("alice")
    answer = line("revoke-where", *options)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert list(states(line).values()) == ["live"]


def test_revoke_all_with_an_external_id(line: Line) -> None:
    ours = [line.create(name, "--external-id", "sid-1")[1] for name in ("alice", "bob")]
    other = line.create("alice", "--external-id", "sid-2")[1]
    listed = line("sessions", "--external-id", "sid-1")
    assert [row[0] for row in listed.rows] == ours
    assert {row[13] for row in listed.rows} == {"sid-1"}
    assert line("revoke-all", "--external-id", "sid-1").out == "2\n"
    assert states(line) == dict.fromkeys(ours, "ended") | {other: "live"}


@pytest.mark.parametrize(
    "options",
    [[], ["--principal", "alice", "--external-id", "x"], ["--principal", "alice", "--keep", "x"]],
)
def test_bad_input_to_revoke_all(line: Line, options: list[str]) -> None:
    _, handle = line.create()
    answer = line("revoke-all", *options)
    assert (answer.code, answer.out) == (2, "")
    assert states(line) == {handle: "live"}


def test_keeping_a_session_that_is_not_there_keeps_none(line: Line) -> None:
    line.create("alice")
    assert line("revoke-all", "--principal", "alice", "--keep", UNKNOWN).out == "1\n"


def test_create_at_the_limit(line: Line) -> None:
    first, second = (line.create("alice", "--max-sessions", "2")[1] for _ in range(2))
    refused = line("create", "alice", "--max-sessions", "2", "--json")
    assert (refused.code, refused.out) == (3, "")
    assert json.loads(refused.err)["error"] == "session_limit_reached"
    third = line.create("alice", "--max-sessions", "2", "--evict-oldest")[1]
    assert states(line) == {first: "ended", second: "live", third: "live"}
    assert line("history", "--handle", first).rows[-1][10] == "evicted"


def test_create_with_timeouts(line: Line) -> None:
    token, _ = line.create("alice", "--idle-timeout", "10m", "--absolute-timeout", "1h")
    session = line("get", "--json", given=token).record
    instants = {name: datetime.fromisoformat(session[name]) for name in ("created_at", "deadline")}
    assert instants["deadline"] - instants["created_at"] == timedelta(hours=1)
    assert session["idle_timeout"] == 600.0
    assert line("get", given=token).row[11] == "600.0"


def test_sweep_ends_what_lapsed_long_enough_ago(line: Line) -> None:
    with long_ago(line, timedelta(hours=1)) as store:
        lapsed = [store.create("alice", ttl=timedelta(minutes=1)).handle for _ in range(3)]
    live = line.create("alice")[1]
    assert line("sweep", "--limit", "2").out == "2\n"
    assert line("sweep", "--json").record == {"swept": 1}
    assert line("sweep").out == "0\n"
    assert states(line) == dict.fromkeys(lapsed, "ended") | {live: "live"}
    (told,) = line("history", "--handle", lapsed[0], "--json").records[1:]
    assert told["cause"] == "lapsed"


def test_sweep_refuses_when_the_newest_event_lies_in_the_future(line: Line) -> None:
    with long_ago(line, timedelta(hours=1)) as store:
        lapsed = store.create("alice", ttl=timedelta(minutes=1)).handle
    ahead = int((datetime.now(UTC).timestamp() + 3600) * 1000)
    log = open_log(f"sqlite:///{line.folder / 'sessions.db'}")
    event = LogEvent.of("something_else", {}, occurred_at_ms=ahead)
    log.append("orchestrator.sessions", [Unit([Change(event)])])
    log.close()
    refused = line("sweep", "--json")
    assert (refused.code, refused.out) == (3, "")
    assert json.loads(refused.err)["error"] == "clock_jumped"
    assert states(line) == {lapsed: "lapsed"}


def test_answers_for_people(line: Line, screen: Screen) -> None:
    line.create("alice", "--context", "device=phone", "--context", "address=192.0.2.7")
    assert "phone" in screen("sessions")
    assert "ended 1 session\r\n" in screen("revoke-all", "--principal", "alice")
    assert "swept 0 sessions" in screen("sweep")
