"""`events --follow` and `watch`: real processes that go on, and others that write."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import IO

import pytest

from sessionledger import SessionStore
from tests.cli.running import COMMAND, Line
from tests.logs import children

# The commands that go on until somebody ends them.
ENDLESS = [("events", "--follow"), ("watch", "--after", "0")]
CAUGHT_UP = b"caught up: --after 1"

# Creates a session for every name that it is told, and answers the handle.
WRITER = """
import sys
from sessionledger import SessionStore

with SessionStore.open("sqlite:///" + sys.argv[1]) as store:
    for name in sys.stdin:
        print(store.create(name.strip()).handle, flush=True)
"""


@contextmanager
def going_on(line: Line, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command that has no end, for as long as the block lasts at most."""
    with line.start(*arguments) as process:
        try:
            yield process
        finally:
            process.kill()


def following(line: Line, *options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The events as they come."""
    return going_on(line, "events", "--follow", *options)


def watching(line: Line, *options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """The command, for as long as the block lasts at most."""
    return going_on(line, "watch", *options)


@contextmanager
def writing(line: Line) -> Iterator[Callable[[str], str]]:
    """Another process that creates sessions: what to ask it for one, by principal."""
    with children.running(WRITER, line.folder / "sessions.db") as writer:
        yield lambda principal: children.ask(writer, principal)


def next_of(stream: IO[bytes] | None) -> list[str]:
    assert stream
    return stream.readline().decode().rstrip("\n").split("\t")


def test_it_goes_on_with_what_others_append(line: Line) -> None:
    handles = [line.create(name)[1] for name in ("alice", "bob")]
    with following(line) as process, writing(line) as create:
        for id, handle in enumerate(handles, 1):
            assert next_of(process.stdout)[::3][:2] == [str(id), handle]
        for id in range(3, 8):
            handle = create("carol")
            row = next_of(process.stdout)
            assert row[:2] == [str(id), "session_created"]
            assert row[3] == handle


def test_it_begins_after_an_event_and_ends_at_the_limit(line: Line) -> None:
    line.create("alice")
    line.create("bob")
    options = ("--after", "1", "--limit", "2", "--json")
    with following(line, *options) as process, writing(line) as create:
        assert process.stdout
        assert json.loads(process.stdout.readline())["id"] == 2
        handle = create("carol")
        out, err = process.communicate(timeout=60)
    (second,) = map(json.loads, out.splitlines())
    assert (second["id"], second["handle"]) == (3, handle)
    assert (process.returncode, err) == (0, b"")


@pytest.mark.parametrize("command", ENDLESS, ids=" ".join)
def test_ctrl_c_ends_it(line: Line, command: tuple[str, ...]) -> None:
    line.create("alice")
    with going_on(line, *command) as process:
        assert next_of(process.stdout)[0] == "1"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


@pytest.mark.parametrize("command", ENDLESS, ids=" ".join)
def test_a_reader_that_leaves_ends_it_though_nothing_happens(
    line: Line, command: tuple[str, ...]
) -> None:
    line.create("alice")
    with going_on(line, *command) as process:
        assert next_of(process.stdout)[0] == "1"
        assert process.stdout
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr
        told = process.stderr.read().splitlines()
    assert [text for text in told if text != CAUGHT_UP] == []


def test_a_reader_that_leaves_while_it_writes(line: Line) -> None:
    with SessionStore.open(f"sqlite:///{line.folder / 'sessions.db'}") as store:
        for _ in range(300):
            store.create("alice")
    with following(line) as process:
        assert process.stdout
        process.stdout.close()
        assert process.wait(60) == 141
        assert process.stderr
        assert process.stderr.read() == b""


def test_a_topic_that_nobody_has_written_to_yet(line: Line) -> None:
    line.create("alice")
    with following(line, "--topic", "greetings", "--limit", "1") as process:
        script = """import sys; from sessionledger import *
log = open_log("sqlite:///" + sys.argv[1])
log.append("greetings", [Unit([Change(LogEvent.of("said", "hello"))])])"""
        children.run(script, line.folder / "sessions.db")
        out, _ = process.communicate(timeout=60)
    assert out.decode().split("\t")[4] == "hello"


def test_people_get_aligned_lines(line: Line) -> None:
    first = line.create("alice")[1]
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*COMMAND, "events", "--follow", "--limit", "2"],
        stdout=theirs,
        cwd=line.folder,
        env=line.environment(TERM="xterm", COLUMNS="130"),
    ) as process:
        os.close(theirs)
        with os.fdopen(ours, "rb", buffering=0) as terminal:
            seen = [terminal.readline()]
            second = line.create("bob")[1]
            seen.append(terminal.readline())
            assert process.wait(60) == 0
    texts = [text.decode().rstrip() for text in seen]
    assert [text.index("sha256") for text in texts] == [texts[0].index("sha256")] * 2
    assert first in texts[0]
    assert second in texts[1]
    assert all(len(text) <= 130 for text in texts)


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
