"""Shell completion: what is offered, and the scripts in real shells."""

from __future__ import annotations

import os
import pty
import subprocess
from pathlib import Path

import pytest

from sessionledger.server.service.keys import SCOPES
from tests.cli.running import Line
from tests.servers import program

SHELLS = ("bash", "zsh", "fish")

# What is asked of a script, and what it completes to.
BASH = """
source <(sessionledger --show-completion bash)
COMP_LINE=$1 COMP_POINT=${#1}
_sessionledger
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
sessionledger --show-completion fish | source
complete -C $argv[1]
"""
ZSH = "autoload -Uz compinit; compinit -u -D; source <(sessionledger --show-completion zsh)\n"


def offered(line: Line, text: str, shell: str = "bash") -> list[str]:
    answer = line(_SESSIONLEDGER_COMPLETE=f"complete_{shell}", COMP_WORDS=text)
    assert (answer.code, answer.err) == (0, "")
    return answer.out.splitlines()


@pytest.mark.sampled
@pytest.mark.parametrize("shell", SHELLS)
def test_a_completion_script_is_generated(line: Line, shell: str) -> None:
    answer = line.process("--show-completion", shell)
    assert answer.code == 0
    assert "_SESSIONLEDGER_COMPLETE" in answer.out


def test_completion_completes(line: Line) -> None:
    variables = {"_SESSIONLEDGER_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    answer = line.process(COMP_WORDS="sessionledger re", **variables)
    revokes = {"revoke", "revoke-all", "revoke-where", "revoke-everybody"}
    ours = {"reauthenticate", "rebuild", "restore"} | revokes
    assert set(answer.out.split()) == ours


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sessionledger --v", ["--version"]),
        ("sessionledger keys ", ["create", "list", "revoke"]),
        ("sessionledger keys c", ["create"]),
        ("sessionledger keys create a --scope ", list(SCOPES)),
        ("sessionledger get --h", ["--handle", "--help"]),
        ("sessionledger fi", ["find-or-create"]),
        ("sessionledger find-or-create a b --e", ["--expires-at"]),
        ("sessionledger serve --on-reuse d", ["deny"]),
        ("sessionledger create a --attributes @", []),
        ("sessionledger history --kind session_c", ["session_created"]),
        ("sessionledger history --cause re", ["revoked", "reused"]),
        ("sessionledger activity --per ", ["hour", "day"]),
        ("sessionledger histroy --", []),
        ("sessionledger keys nothing --", []),
    ],
)
def test_commands_options_and_values_are_offered(line: Line, text: str, words: list[str]) -> None:
    assert offered(line, text) == words


def test_shells_that_show_help_get_it(line: Line) -> None:
    assert offered(line, "sessionledger expi", "fish") == [
        "expire\tEnd the session of a token, for good."
    ]
    scopes = offered(line, "sessionledger keys create a --scope sessions:c", "zsh")
    assert scopes == ["sessions\\:create:"]


def run(line: Line, apart: Path, *command: str) -> list[str]:
    path = f"{apart}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=line.folder,
        env=line.environment(PATH=path, HOME=str(line.folder)),
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    return done.stdout.decode().splitlines()


def test_bash_completes_also_behind_a_colon(line: Line, apart: Path) -> None:
    found = run(line, apart, "bash", "-c", BASH, "_", "sessionledger re")
    assert found == [
        "reauthenticate",
        "revoke",
        "revoke-all",
        "revoke-where",
        "revoke-everybody",
        "rebuild",
        "restore",
    ]
    found = run(
        line, apart, "bash", "-c", BASH, "_", "sessionledger keys create --scope sessions:c"
    )
    assert found == ["create"], "bash takes sessions: for a word of its own"


def test_fish_completes(line: Line, apart: Path) -> None:
    found = run(line, apart, program("fish"), "-c", FISH, "sessionledger expi")
    assert found == ["expire\tEnd the session of a token, for good."]


def test_zsh_completes(line: Line, apart: Path) -> None:
    zsh = program("zsh")
    path = f"{apart}{os.pathsep}{os.environ['PATH']}"
    environment = line.environment(PATH=path, HOME=str(line.folder), TERM="dumb", PS1="> ")
    child, terminal = pty.fork()
    if not child:  # pragma: no cover
        os.chdir(line.folder)
        os.execve(zsh, [zsh, "-f", "-i"], environment)
    seen = b""
    for keys, answer in (
        (ZSH.encode() + b"echo rea''dy\n", b"\nready"),
        (b"sessionledger reau\t", b"sessionledger reauthenticate"),
        (b"\x15exit\n", b"exit"),
    ):
        os.write(terminal, keys)
        while answer not in seen:
            seen += os.read(terminal, 1024)
    os.waitpid(child, 0)
    os.close(terminal)


@pytest.mark.parametrize("shell", SHELLS)
def test_completion_is_installed_where_the_shell_looks(line: Line, shell: str) -> None:
    answer = line("--install-completion", SHELL=f"/usr/bin/{shell}", HOME=str(line.folder))
    assert answer.code == 0, answer.err
    (path,) = (path for path in line.folder.rglob("*") if path.is_file())
    assert str(path) in answer.out
    assert path.read_text() == line("--show-completion", shell).out


def test_bash_loads_what_was_installed(line: Line) -> None:
    line("--install-completion", "bash", XDG_DATA_HOME=str(line.folder))
    installed = line.folder / "bash-completion" / "completions" / "sessionledger"
    told = subprocess.run(
        ["bash", "-c", 'source "$1"; complete -p sessionledger', "_", installed],
        capture_output=True,
        check=True,
    )
    assert b"-F _sessionledger" in told.stdout


def test_an_unknown_shell_is_bad_usage(line: Line) -> None:
    answer = line("--show-completion", SHELL="/bin/tcsh")
    assert (answer.code, answer.out) == (2, "")
    assert "must be bash, zsh, fish, got 'tcsh'" in answer.err
