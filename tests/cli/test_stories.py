"""`as-of`, and `watch`: a real process that watches, and others that write."""

from __future__ import annotations

import json
import subprocess
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta

from tests.cli.running import Answer, Line
from tests.cli.test_bearers import long_ago
from tests.cli.test_follow import going_on, next_of
from tests.cli.test_sessions import UNKNOWN


def watching(line: Line, *options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The command, for as long as the block lasts at most."""
    return going_on(line, "watch", *options)


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


def test_watch_begins_with_what_was_missed_and_goes_on(line: Line) -> None:
    first, second = line.create("alice")[1], line.create("bob")[1]
    with watching(line, "--after", "1") as process:
        assert next_of(process.stdout)[:3:2] == ["2", second]
        assert next_of(process.stderr) == ["caught up: --after 2"]
        line("revoke", "--handle", first, "--reason", "lost phone")
        told = next_of(process.stdout)
        assert (told[0], told[2], told[4]) == ("3", first, "lost phone")


def test_watch_one_principal_from_now_on(line: Line) -> None:
    line.create("alice")
    with watching(line, "--principal", "alice", "--limit", "1", "--json") as process:
        assert next_of(process.stderr) == ["caught up: --after 1"]
        line.create("bob")
        _, handle = line.create("alice")
        out, err = process.communicate(timeout=60)
    told = json.loads(out)
    assert (told["event_id"], told["handle"], told["principal"]) == (3, handle, "alice")
    assert (process.returncode, err) == (0, b"")


def test_what_is_no_event_id(line: Line) -> None:
    line.create()
    assert line("watch", "--after", "-1").code == 2
    assert line("watch", "--principal", " ").code == 2
