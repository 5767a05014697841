"""What people see: the commands on a pseudo-terminal."""

from __future__ import annotations

import os
import pty
import re
import sys

import pytest

from tests.cli.running import COMMAND, Line
from tests.cli.screen import Screen, read_all

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def handle(line: Line) -> str:
    return line.create_unchecked("a[red]\u202eb", reason="[bold]\x1b[31m", actor=":smile:")


def test_tables_show_what_is_stored_and_obey_none_of_it(screen: Screen, handle: str) -> None:
    shown = (
        ["sessions"],
        ["history"],
        ["history", "--handle", handle],
        ["get", "--handle", handle],
    )
    for arguments in shown:
        seen = screen(*arguments)
        assert "\x1b[31m" not in seen
        assert "\u202e" not in seen
    seen = _STYLE.sub("", screen("history", "--handle", handle))
    assert "[bold]\\x1b[31m" in seen
    assert ":smile:" in seen
    assert "a[red]\\u202eb" in _STYLE.sub("", screen("sessions"))


@pytest.mark.parametrize("columns", ["80", "100", "160"])
def test_a_handle_can_be_copied_from_a_listing(screen: Screen, handle: str, columns: str) -> None:
    assert handle in screen("sessions", COLUMNS=columns)


@pytest.mark.parametrize("columns", ["60", "80", "300"])
def test_no_word_of_a_history_is_broken(screen: Screen, handle: str, columns: str) -> None:
    seen = screen("history", "--handle", handle, COLUMNS=columns)
    assert "session_created" in seen


def test_nothing_is_said_to_be_nothing(line: Line, screen: Screen, handle: str) -> None:
    assert screen("sessions", "--principal", "nobody").strip() == "none"
    assert line("sessions", "--principal", "nobody").out == ""


def test_create_shows_a_table_and_the_token(line: Line, screen: Screen) -> None:
    seen = screen("create", "alice")
    assert "principal" in seen
    token = seen.splitlines()[-1]
    assert line("get", given=token).code == 0


def test_json_is_json_on_a_terminal_too(screen: Screen, handle: str) -> None:
    assert screen("sessions", "--json").startswith('{"handle":')


def test_without_the_extra_a_terminal_shows_what_a_pipe_gets(line: Line) -> None:
    program = (
        "import sys; sys.modules['rich'] = None\n"
        "from sessionledger.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    screen = Screen(line, [sys.executable, "-c", program])
    token = screen("create", "alice").strip()
    assert line("get", given=token).code == 0
    for arguments in (["sessions"], ["history"], ["activity"], ["doctor"]):
        assert screen(*arguments).replace("\r", "") == line(*arguments).out


def test_no_colour_is_respected(screen: Screen, handle: str) -> None:
    assert "\x1b[1m" in screen("sessions")
    plain = screen("sessions", NO_COLOR="1")
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
def test_answers_for_people(screen: Screen, handle: str, arguments: list[str], says: str) -> None:
    assert says in screen(*arguments)


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
    answer = read_all(terminal)
    os.waitpid(child, 0)
    assert handle in answer
    assert token not in answer
