"""What people see: the commands on a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from collections.abc import Sequence

import pytest

from tests.cli.running import COMMAND, Line

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


def on_terminal(
    line: Line,
    *arguments: str,
    given: bytes = b"",
    command: Sequence[str] = COMMAND,
    **variables: str,
) -> str:
    """Everything that a command writes to a terminal 160 columns wide."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
    environment = line.environment(TERM="xterm", **variables)
    process = subprocess.Popen(
        [*command, *arguments],
        stdin=subprocess.PIPE,
        stdout=theirs,
        stderr=theirs,
        cwd=line.folder,
        env=environment,
    )
    os.close(theirs)
    assert process.stdin
    process.stdin.write(given)
    process.stdin.close()
    seen = _read_all(ours)
    process.wait(60)
    return seen


def _read_all(terminal: int) -> str:
    content = b""
    try:
        while piece := os.read(terminal, 65536):
            content += piece
    except OSError:  # the other side is closed
        pass
    os.close(terminal)
    return content.decode()


@pytest.fixture
def handle(line: Line) -> str:
    return line.create("a[red]\u202eb", "--reason", "[bold]\x1b[31m", "--actor", ":smile:")[1]


def test_tables_show_what_is_stored_and_obey_none_of_it(line: Line, handle: str) -> None:
    for arguments in (["sessions"], ["history", "--handle", handle], ["get", "--handle", handle]):
        seen = on_terminal(line, *arguments)
        assert "\x1b[31m" not in seen
        assert "\u202e" not in seen
    seen = _STYLE.sub("", on_terminal(line, "history", "--handle", handle))
    assert "[bold]\\x1b[31m" in seen
    assert ":smile:" in seen
    assert "a[red]\\u202eb" in _STYLE.sub("", on_terminal(line, "sessions"))


def test_a_handle_stands_in_a_table_as_a_whole(line: Line, handle: str) -> None:
    assert handle in on_terminal(line, "sessions")


def test_create_shows_a_table_and_the_token(line: Line) -> None:
    seen = on_terminal(line, "create", "alice")
    assert "principal" in seen
    token = seen.splitlines()[-1]
    assert line("get", given=token).code == 0


def test_json_is_json_on_a_terminal_too(line: Line, handle: str) -> None:
    assert on_terminal(line, "sessions", "--json").startswith('{"handle":')


def test_no_colour_is_respected(line: Line, handle: str) -> None:
    assert "\x1b[1m" in on_terminal(line, "sessions")
    plain = on_terminal(line, "sessions", NO_COLOR="1")
    assert not re.search(r"\x1b\[3\d", plain)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify"], "ok: all 1 events"),
        (["verify", "--expect", "orchestrator.sessions:9:x"], "broken: event 9"),
        (["rebuild"], "folded 1 events"),
        (["stats"], "sqlite"),
        (["head"], "orchestrator.sessions:1:sha256:"),
        (["events"], "session_created"),
    ],
)
def test_answers_for_people(line: Line, handle: str, arguments: list[str], says: str) -> None:
    assert says in on_terminal(line, *arguments)


def test_the_token_is_typed_unseen(line: Line) -> None:
    token, handle = line.create()
    child, terminal = pty.fork()
    if not child:  # pragma: no cover
        os.chdir(line.folder)
        os.execve(COMMAND[0], [*COMMAND, "get", "--json"], line.environment(TERM="xterm"))
    seen = b""
    while b"token: " not in seen:
        seen += os.read(terminal, 1024)
    os.write(terminal, token.encode() + b"\n")
    answer = _read_all(terminal)
    os.waitpid(child, 0)
    assert handle in answer
    assert token not in answer
