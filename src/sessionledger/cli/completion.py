"""Shell completion: a script for each shell, which asks this program for the candidates.

A script sets `_SESSIONLEDGER_COMPLETE`, and COMP_WORDS to the line up to the cursor.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from sessionledger.cli.application import front
from sessionledger.cli.commands import COMMANDS, load
from sessionledger.cli.exit_codes import Failure, bad_usage
from sessionledger.cli.output.stdout import write
from sessionledger.cli.parser import HELP, Command, InvalidValue

# Where each shell looks for scripts: the variable for the folder, its default, the file in it.
_PATHS = {
    "bash": ("XDG_DATA_HOME", "~/.local/share", "bash-completion/completions/sessionledger"),
    "zsh": ("ZDOTDIR", "~", ".zfunc/_sessionledger"),
    "fish": ("XDG_CONFIG_HOME", "~/.config", "fish/completions/sessionledger.fish"),
}


def script(shell: str | None) -> str:
    """The script for a shell; None for the current one."""
    return Path(__file__).with_suffix(f".{_known(shell)}").read_text().rstrip()


def install(shell: str | None) -> str:
    """Write the script to where the shell looks for it, and return what to tell the user."""
    shell = _known(shell)
    variable, default, name = _PATHS[shell]
    path = Path(os.environ.get(variable) or default).expanduser() / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(script(shell) + "\n")
    return f"{shell} completion is in {path}: it works in new shells"


def _known(shell: str | None) -> str:
    shell = shell or Path(os.environ.get("SHELL", "")).name
    if shell not in _PATHS:
        raise bad_usage(str(InvalidValue(f"the shell must be {', '.join(_PATHS)}", shell)))
    return shell


def complete(form: str, line: str) -> None:
    """Write what may continue the last word of a line, as the script of a shell reads it."""
    words = line.split()[1:]
    current = words.pop() if words and not line[-1].isspace() else ""
    with suppress(Failure):  # of a word that is no command
        for word, text in _following(words, current.startswith("-")).items():
            if word.startswith(current):
                write(_candidate(form, word, text))


def _candidate(form: str, word: str, text: str) -> str:
    if form == "complete_zsh":
        return word.replace(":", "\\:") + ":" + text
    return f"{word}\t{text}" if form == "complete_fish" else word


def _following(words: Sequence[str], wants_option: bool) -> Mapping[str, str]:
    """What may stand behind words, and its help: a command, an option, or a value of one."""
    if not words:
        return (
            _flags(front) if wants_option else {name: text for name, (_, text) in COMMANDS.items()}
        )
    found = load(words[0])
    if isinstance(found, Command):
        return _arguments(found, words[-1], wants_option)
    if len(words) == 1:
        return {name: command.summary() for name, command in found.items()}
    return _arguments(found[words[1]], words[-1], wants_option) if words[1] in found else {}


def _arguments(command: Command, last: str, wants_option: bool) -> Mapping[str, str]:
    for option in command.options:
        if last in option.flags and option.suggestions:
            return dict.fromkeys(option.suggestions, "")
    return _flags(command) if wants_option else {}


def _flags(command: Command) -> Mapping[str, str]:
    return {flag: o.help for o in [*command.options, HELP] for flag in o.flags[:1]}
