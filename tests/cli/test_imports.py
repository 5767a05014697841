"""Which modules a command imports: what decides how soon it answers."""

from __future__ import annotations

import sys

import pytest

from tests.cli.running import Line

# Nothing that is answered without an event loop, a screen, a subprocess or the network needs these.
HEAVY = {
    *("ast", "asyncio", "concurrent", "dataclasses", "difflib", "email", "http", "inspect"),
    *("logging", "multiprocessing", "shutil", "socketserver", "ssl", "subprocess", "unittest"),
}

# A module takes a tenth of a millisecond, and `get` may take some forty. Measure before raising it.
MOST_MODULES_OF_GET = 191

PROGRAM = """
import sys
before = {*sys.modules}
from sessionledger.cli.main import main
code = main(sys.argv[1:])
print(*sorted({*sys.modules} - before), file=sys.stderr)
sys.exit(code)
"""


def imported(line: Line, *arguments: str, code: int = 0) -> set[str]:
    """The modules that a command in a pipe imports."""
    answer = line.program(PROGRAM, *arguments)
    assert answer.code == code, answer.err
    return {*answer.err.splitlines()[-1].split()}


def packages(modules: set[str]) -> set[str]:
    """Those of them that are not the standard library's, by the name that is installed."""
    names = {name.partition(".")[0] for name in modules}
    return names - sys.stdlib_module_names - {"sessionledger"}


@pytest.fixture
def handle(line: Line) -> str:
    return line.create()[1]


@pytest.mark.parametrize(
    "arguments",
    [
        *(["get", "--handle"], ["create", "bob"], ["sessions"], ["history", "--handle"]),
        *(["revoke", "--handle"], ["events"], ["head"], ["verify"], ["stats"], ["doctor"]),
        *(["rebuild"], ["sweep"], ["revoke-all", "--principal", "eve"], ["keys", "list"]),
        *(["webhooks", "list"], ["serve", "--show-config"]),
    ],
    ids=" ".join,
)
def test_a_command_in_a_pipe_imports_what_reads_and_writes(
    line: Line, handle: str, arguments: list[str]
) -> None:
    if arguments[-1] == "--handle":
        arguments = [*arguments, handle]
    modules = imported(line, *arguments)
    assert packages(modules) <= {"msgspec", "apsw"}
    assert not modules & HEAVY


@pytest.mark.parametrize(
    ("arguments", "code"), [(["--version"], 0), (["--help"], 0), ([], 2)], ids=str
)
def test_an_answer_without_a_ledger_imports_nothing_that_opens_one(
    line: Line, arguments: list[str], code: int
) -> None:
    modules = imported(line, *arguments, code=code)
    assert packages(modules) == set()
    assert not {"sessionledger.store", "sessionledger.logs"} & modules
    assert not modules & (HEAVY - {"shutil"}), "help asks how wide the terminal is"


def test_a_mistyped_command_needs_no_store(line: Line) -> None:
    modules = imported(line, "histroy", code=2)
    assert "sessionledger.store" not in modules


def test_get_imports_few_modules(line: Line, handle: str) -> None:
    assert len(imported(line, "get", "--handle", handle)) <= MOST_MODULES_OF_GET


def test_a_command_imports_its_own_module_only(line: Line, handle: str) -> None:
    modules = imported(line, "get", "--handle", handle)
    commands = {name for name in modules if name.startswith("sessionledger.cli.commands.")}
    assert commands == {"sessionledger.cli.commands.sessions"}
