"""Help texts: as wide as the terminal is, and 80 columns at most."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from shutil import get_terminal_size
from textwrap import wrap

from sessionledger.cli.exit_codes import MEANINGS
from sessionledger.cli.parser import HELP, OMITTED, Command, Option

MAX_COLUMNS = 80
_WIDEST_LABEL = 26
_EXIT_CODES = "Exit codes: see `sessionledger --help`."


def command_help(name: str, command: Command) -> str:
    """The help of a command."""
    return f"{_without_exit_codes(name, command)}\n\n{_EXIT_CODES}"


def front_help(name: str, front: Command, commands: Mapping[str, str]) -> str:
    """The help of the program: commands with their summaries, and what exit codes mean."""
    codes = ((str(code), meaning) for code, meaning in MEANINGS.items())
    sections = _section("Commands", commands.items()), _section("Exit codes", codes)
    return "\n\n".join([_without_exit_codes(name, front), *sections])


def group_help(name: str, commands: Mapping[str, str]) -> str:
    """The help of a group of commands."""
    return f"Usage: {name} COMMAND [OPTIONS]\n\n{_section('Commands', commands.items())}"


def _without_exit_codes(name: str, command: Command) -> str:
    positional = [option for option in command.options if not option.flags]
    options = [option for option in command.options if option.flags]
    required = (_label(option) for option in command.options if option.required)
    usage = " ".join(["Usage:", name, *required, "[OPTIONS]"])
    paragraphs = (command.run.__doc__ or "").split("\n\n")
    parts = [usage, *("\n".join(wrap(" ".join(p.split()), _columns())) for p in paragraphs)]
    if positional:
        parts.append(_section("Arguments", map(_row, positional)))
    parts.append(_section("Options", map(_row, [*options, HELP])))
    return "\n\n".join(parts)


def _section(title: str, rows: Iterable[tuple[str, str]]) -> str:
    """Labels and texts in two columns; a label that is too long stands on its own line."""
    rows = [*rows]
    width = max((len(label) for label, _ in rows if len(label) <= _WIDEST_LABEL), default=0)
    lines = [f"{title}:"]
    for label, text in rows:
        first, *others = wrap(text, _columns() - width - 4, break_on_hyphens=False)
        if len(label) > width:
            lines.append(f"  {label}")
            label = ""
        lines.append(f"  {label:{width}}  {first}")
        lines.extend(" " * (width + 4) + other for other in others)
    return "\n".join(lines)


def _row(option: Option) -> tuple[str, str]:
    told = [option.variable] if option.variable else []
    if option.variable and option.default not in (None, OMITTED):
        told.append(f"default: {option.default}")
    return _label(option), option.help + (f" [{'; '.join(told)}]" if told else "")


def _label(option: Option) -> str:
    return " ".join(filter(None, [", ".join(option.flags), option.metavar]))


def _columns() -> int:
    return min(MAX_COLUMNS, get_terminal_size().columns)
