"""What every command shares: secrets, signals, streams that are closed, and the end."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, Answer, Line

SECRET = "harn_sess_" + "s" * 43
OWN = "a-token-that-the-caller-has-chosen-1234567890"


@pytest.mark.parametrize(
    "arguments",
    [
        ["get", SECRET],
        ["create", "alice", SECRET],
        ["get", "--handle", SECRET],
        ["create", "alice", "--ttl", SECRET],
        ["create", "alice", "--token", SECRET],
        ["create", "alice", f"--token={SECRET}"],
        ["create", "alice", "--context", SECRET],
        ["create", "alice", "--attributes", SECRET],
        ["events", "--limit", SECRET],
        ["events", "--topic", SECRET + "/"],
        ["sessions", "--ledger", SECRET],
        [SECRET],
        [OWN],
        ["get", OWN],
        ["authenticate", SECRET],
        ["rotate", OWN],
        ["patch", SECRET],
        ["patch", OWN],
        ["patch", "{}", "--handle", OWN],
        ["revoke-all", "--keep", SECRET],
        ["revoke-all", "--principal", "a", "--keep", OWN],
        ["as-of", "--handle", OWN, "--at", SECRET],
        ["get", "--handle", OWN],
        ["--show-completion", OWN],
        ["get", f"--json={OWN}"],
        ["keys", OWN],
        ["serve", "--on-reuse", OWN],
        [f"--{OWN}"],
    ],
)
def test_a_misplaced_token_is_not_repeated(line: Line, arguments: list[str]) -> None:
    line.create()
    for options in ([], ["--json"]):
        answer = line(*arguments, *options)
        assert answer.code in (2, 4)
        assert SECRET not in answer.out + answer.err
        assert OWN not in answer.out + answer.err


def test_a_given_token_is_in_no_other_output(line: Line) -> None:
    line("create", "alice", "--token-stdin", given=SECRET)
    for command in ("get", "authenticate", "reauthenticate", "touch", "expire", "rotate"):
        for options in ([], ["--json"]):
            answer = line(command, *options, given=SECRET)
            assert SECRET not in answer.out + answer.err


@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="needs /proc")
def test_no_token_is_in_the_process_list(line: Line) -> None:
    line("create", "alice", "--token-stdin", given=SECRET)
    process = line.start("get")
    seen = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    out, _ = process.communicate(SECRET.encode(), timeout=60)
    assert SECRET.encode() not in seen
    assert b"alice" in out


def test_ctrl_c_ends_with_130(line: Line) -> None:
    line.create()
    program = (
        "import io, os, signal, sys\n"
        "class Stdin(io.StringIO):\n"
        "    @property\n"
        "    def buffer(self): return self\n"
        "    def readline(self, size=-1): os.kill(os.getpid(), signal.SIGINT); return b''\n"
        "sys.stdin = Stdin()\n"
        "from sessionledger.cli.main import main; sys.exit(main(['get']))"
    )
    answer = line.program(program)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert (answer.code, answer.out) == (130, "")
    assert "Traceback" not in answer.err


def test_nothing_is_done_whose_answer_would_be_lost(line: Line) -> None:
    command = shlex.join([*COMMAND, "create", "alice"])
    done = subprocess.run(
        ["sh", "-c", f"{command} >&-"], cwd=line.folder, stderr=subprocess.PIPE, check=False
    )
    assert (done.returncode, list(line.folder.iterdir())) == (2, [])
    assert done.stderr.startswith(b"error: standard output is closed")


@pytest.mark.parametrize("closed", ["<&-", "<&- 2>&-"])
def test_no_standard_input_is_no_token(line: Line, closed: str) -> None:
    line.create()
    command = shlex.join([*COMMAND, "get"])
    done = subprocess.run(
        ["sh", "-c", f"{command} {closed}"], cwd=line.folder, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert b"Traceback" not in done.stderr


def test_a_ledger_in_memory_is_no_use_to_a_command(line: Line) -> None:
    for command in (("create", "alice"), ("get",), ("serve",), ("keys", "list")):
        answer = line(*command, "--ledger", "memory:", SESSIONLEDGER_TOKEN=SECRET)
        assert (answer.code, answer.out) == (2, "")
        assert "memory:" in answer.err


def test_the_topic_is_the_variables_too(line: Line) -> None:
    token, _ = line.create()
    assert line("get", SESSIONLEDGER_TOKEN=token, SESSIONLEDGER_TOPIC="other").code == 1
    elsewhere = line("create", "bob", SESSIONLEDGER_TOPIC="other").out.strip()
    assert line("get", SESSIONLEDGER_TOKEN=elsewhere).code == 1
    assert line("get", "--topic", "other", SESSIONLEDGER_TOKEN=elsewhere).code == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_answer_that_can_not_be_written_is_an_error(line: Line) -> None:
    line.create()
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "sessions"],
            cwd=line.folder,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr.startswith(b"error: ")
    assert b"Traceback" not in done.stderr


def test_garbage_is_collected_in_commands_that_go_on(line: Line) -> None:
    program = """
import gc, sys
from sessionledger.cli import application, main
def run(arguments):
    assert gc.isenabled() and gc.get_threshold()[0] == 25_000
application.run = run
main.run()
"""
    assert line.program(program).code == 0


def test_what_others_registered_for_the_end_of_the_process_is_done(line: Line) -> None:
    line.create()
    program = (
        "import atexit, sys; atexit.register(print, 'the end', file=sys.stderr)\n"
        "from sessionledger.cli.main import run; sys.argv[1:] = ['sessions']; run()"
    )
    answer = line.program(program)
    assert (answer.code, answer.err) == (0, "the end\n")
    assert answer.row[1] == "alice"


def test_what_was_written_before_an_error_is_not_lost(line: Line) -> None:
    program = """
import sys
from sessionledger import LogUnavailable
from sessionledger.cli import application, main
sys.stdout.reconfigure(line_buffering=False, write_through=False)
def run(arguments):
    print("a line")
    raise LogUnavailable("the disk is gone")
application.run = run
main.run()
"""
    assert line.program(program) == Answer(4, "a line\n", "error: the disk is gone\n")
