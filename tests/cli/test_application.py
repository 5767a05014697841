"""Help, and which command arguments name."""

from __future__ import annotations

import inspect
import re

import pytest

from sessionledger import __version__
from sessionledger.cli.commands import COMMANDS as LISTED
from sessionledger.cli.commands import load
from sessionledger.cli.exit_codes import MEANINGS, PIPE_CLOSED
from sessionledger.cli.parser import Command
from tests.cli.running import COMMANDS, Line


def test_help_lists_the_commands_and_the_exit_codes(line: Line) -> None:
    text = line("--help").out
    assert all(f"  {command} " in text for command in COMMANDS)
    assert "Exit codes:" in text
    assert line("--version").out == f"sessionledger {__version__}\n"


def test_no_command_shows_the_help(line: Line) -> None:
    answer = line()
    assert answer.code == 2
    assert answer.out.startswith("Usage: sessionledger")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(line: Line, command: str) -> None:
    answer = line(command, "--help")
    assert answer.code == 0
    assert "--json" in answer.out
    assert "--ledger" in answer.out
    assert "--token " not in answer.out


def test_a_mistyped_command_is_bad_usage(line: Line) -> None:
    answer = line("histroy")
    assert answer.code == 2
    assert "history" in answer.err


def every_command() -> dict[tuple[str, ...], Command]:
    """All commands, those of groups too, by the words that call them."""
    found: dict[tuple[str, ...], Command] = {}
    for name in LISTED:
        loaded = load(name)
        if isinstance(loaded, Command):
            found[(name,)] = loaded
        else:
            found |= {(name, below): command for below, command in loaded.items()}
    return found


EVERY = every_command()


@pytest.mark.parametrize("words", [(), ("keys",), ("webhooks",), *EVERY], ids=" ".join)
@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_fits_into_eighty_columns(line: Line, words: tuple[str, ...], columns: str) -> None:
    text = line(*words, "--help", COLUMNS=columns).out
    assert max(map(len, text.splitlines())) <= 80


def test_help_fits_into_fewer(line: Line) -> None:
    for words in EVERY:
        text = line(*words, "--help", COLUMNS="70").out
        assert max(map(len, text.splitlines())) <= 70, words


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_help_is_for_people(line: Line, words: tuple[str, ...]) -> None:
    text = line(*words, "--help").out
    assert not re.search(r"<\w+>|typing|\bNone\b|Optional", text)
    for option in EVERY[words].options:
        assert option.metavar in text
        assert all(flag in text for flag in option.flags)
        assert option.help.endswith((".", "]")), option.flags


@pytest.mark.parametrize("name", LISTED)
def test_the_list_says_of_a_command_what_its_help_says_first(name: str) -> None:
    found = load(name)
    if isinstance(found, Command):
        assert LISTED[name][1] == found.summary()


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_a_command_takes_its_options_by_their_names(words: tuple[str, ...]) -> None:
    command = EVERY[words]
    taken = inspect.signature(command.run).parameters.values()
    named = {p.name for p in taken if p.kind is not p.VAR_KEYWORD}
    options = {option.name for option in command.options}
    assert named <= options
    if len(named) == len(taken):
        assert options - named <= {"topic"}, "which a `Ledger` holds"


def test_exit_codes_are_stated_once(line: Line) -> None:
    text = " ".join(line("--help").out.split())
    assert all(f" {code} {meaning}" in text for code, meaning in MEANINGS.items())
    assert not [words for words in EVERY if MEANINGS[PIPE_CLOSED] in line(*words, "--help").out]


def test_a_group_without_a_command_shows_its_help(line: Line) -> None:
    answer = line("keys")
    assert answer.code == 2
    assert answer.out == line("keys", "--help").out
    assert line("keys", "histroy").code == 2
