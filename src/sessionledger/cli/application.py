"""From the arguments to the command that they name, its help, or shell completion."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sessionledger import __version__
from sessionledger.cli.commands import COMMANDS, Group, load
from sessionledger.cli.exit_codes import OK, USAGE, bad_usage
from sessionledger.cli.output.stdout import write
from sessionledger.cli.parser import Command, Option, command, no_such

NAME = "sessionledger"


@command(
    Option("[SHELL]", "For completion; the current shell if not given."),
    Option("--version", "Show the version and exit."),
    Option("--install-completion", "Install completion for bash, zsh or fish."),
    Option("--show-completion", "Print the script that completes."),
)
def front(
    shell: str | None, version: bool, install_completion: bool, show_completion: bool
) -> None:
    """Revocable bearer sessions on an event log.

    A token is read from standard input or from SESSIONLEDGER_TOKEN, never from an argument. The
    ledger is --ledger, or SESSIONLEDGER_URL, or sessions.db in the current folder.
    """
    from sessionledger.cli import completion

    if version:
        write(f"{NAME} {__version__}")
    elif install_completion:
        write(completion.install(shell))
    elif show_completion:
        write(completion.script(shell))
    else:
        raise bad_usage("a command is missing")


def run(arguments: Sequence[str]) -> int | None:
    """Carry out one command, and return its exit code; None for 0. Raises what goes wrong."""
    if shell := os.environ.get("_SESSIONLEDGER_COMPLETE"):
        from sessionledger.cli import completion

        completion.complete(shell, os.environ.get("COMP_WORDS", ""))
        return OK
    if not arguments or arguments[0] == "--help":
        from sessionledger.cli.help import front_help

        summaries = {name: summary for name, (_, summary) in COMMANDS.items()}
        write(front_help(f"{NAME} COMMAND", front, summaries))
        return OK if arguments else USAGE
    first, *rest = arguments
    if first.startswith("-"):
        return front(NAME, arguments)
    name, found = f"{NAME} {first}", load(first)
    return found(name, rest) if isinstance(found, Command) else _run_in(found, name, rest)


def _run_in(group: Group, name: str, arguments: Sequence[str]) -> int | None:
    """The same for the commands of a group."""
    if not arguments or arguments[0] == "--help":
        from sessionledger.cli.help import group_help

        write(group_help(name, {name: command.summary() for name, command in group.items()}))
        return OK if arguments else USAGE
    first, *rest = arguments
    if first not in group:
        raise no_such("option" if first.startswith("-") else "command", first, group)
    return group[first](f"{name} {first}", rest)
