"""Commands, their options, and what arguments say about them.

docs/decisions/0041 says why no framework reads the arguments.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from sessionledger.cli.exit_codes import OK, Failure, bad_usage
from sessionledger.cli.output.stdout import write

# The default of an option that is not among the values where it is not given.
OMITTED: Final = object()

# An argument in the wrong place may be a token, of any shape. It is not repeated.
_SHORTEST_TOKEN = 32
_NO_ARGUMENT = (
    "unexpected extra argument; a token is never an argument: give it on standard input or in "
    "SESSIONLEDGER_TOKEN"
)


class InvalidValue(ValueError):
    """A value that can't be understood. A text that is long enough for a token is not repeated."""

    def __init__(self, problem: str, text: str) -> None:
        super().__init__(f"{problem}, got {text!r}" if len(text) < _SHORTEST_TOKEN else problem)


def appended(values: list[Any] | None, value: Any) -> list[Any]:
    """How repeated options are collected."""
    return [*(values or ()), value]


class Option:
    """What a command takes: `--option VALUE`, `--switch`, or an `ARGUMENT` at its position.

    form: as help shows it, `--ledger -l URL` or `[SHELL]`. Brackets mean that it may be missing.
    read: from the text to the value; raises `InvalidValue`.
    collect: from the value so far and one more to the next; otherwise the last one counts.
    variable: the environment variable that is read where the option is not given.
    suggestions: values that completion offers.
    """

    def __init__(
        self,
        form: str,
        help: str,
        *,
        read: Callable[[str], Any] = str,
        collect: Callable[[Any, Any], Any] = lambda _, value: value,
        default: Any = None,
        required: bool = False,
        variable: str | None = None,
        suggestions: Sequence[str] = (),
    ) -> None:
        words = form.strip("[]").split()
        self.flags = [word for word in words if word.startswith("-")]
        self.metavar = "" if words[-1] in self.flags else words[-1]
        self.name = words[0].lstrip("-").replace("-", "_").lower()
        self.required = required or form == self.metavar
        self.help = help
        self.read = read
        self.collect = collect
        self.default = default
        self.variable = variable
        self.suggestions = suggestions

    def value(self, flag: str, text: str | None) -> Any:
        """The value of a text that stands behind a flag. A switch has none, and may be `--no-…`."""
        if text is None:
            return not flag.startswith("--no-")
        try:
            return self.read(text)
        except InvalidValue as error:
            raise bad_usage(f"{flag}: {error}") from None

    def value_if_not_given(self) -> Any:
        """The value of its variable, or else its default."""
        text = os.environ.get(self.variable, "") if self.variable else ""
        return self.value(str(self.variable), text) if text else self.default


HELP = Option("--help", "Show this help and exit.")


class Command:
    """A function, whose docstring is its help, and the options that it takes as keywords."""

    def __init__(self, run: Callable[..., int | None], options: Sequence[Option]) -> None:
        self.run = run
        self.options = options

    def summary(self) -> str:
        """The first line of its help."""
        return (self.run.__doc__ or "").partition("\n")[0]

    def __call__(self, name: str, arguments: Sequence[str]) -> int | None:
        """Read the arguments, carry it out, and return its exit code; None for 0."""
        given: dict[str, Any] = {}
        for option, flag, text in _assigned([*self.options, HELP], arguments):
            if option is HELP:
                from sessionledger.cli.help import command_help

                write(command_help(name, self))
                return OK
            given[option.name] = option.collect(given.get(option.name), option.value(flag, text))
        return self.run(**self._defaults(given), **given)

    def _defaults(self, given: dict[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for option in self.options:
            if option.name in given:
                continue
            if option.required:
                what = option.flags[0] if option.flags else option.metavar
                raise bad_usage(f"{what} is missing: {option.help}")
            value = option.value_if_not_given()
            if value is not OMITTED:
                values[option.name] = value
        return values


def command(*options: Option) -> Callable[[Callable[..., int | None]], Command]:
    """Make a command of a function. Its parameters are called as the options are."""
    return lambda run: Command(run, options)


def no_such(kind: str, word: str, known: Iterable[str]) -> Failure:
    """The failure of a word that nobody knows, which is repeated only if it can't be a token."""
    if len(word) >= _SHORTEST_TOKEN:
        return bad_usage(_NO_ARGUMENT)
    from difflib import get_close_matches

    close = get_close_matches(word, [*known], n=1)
    return bad_usage(f"no such {kind}: {word}" + (f"; did you mean {close[0]}?" if close else ""))


def _assigned(
    options: Sequence[Option], arguments: Sequence[str]
) -> Iterator[tuple[Option, str, str | None]]:
    """Each option that is given, as what, and its text.

    What stands behind an option that takes a value is its value, whatever it looks like. So a
    script that passes on somebody's text as `--reason "$TEXT"` passes on no options.
    """
    flags = {flag: option for option in options for flag in option.flags}
    positional = (option for option in options if not option.flags)
    rest = iter(arguments)
    options_end = False
    for argument in rest:
        if options_end or not argument.startswith("-") or argument == "-":
            option = next(positional, None)
            if option is None:
                raise bad_usage(_NO_ARGUMENT)
            yield option, option.metavar, argument
        elif argument == "--":
            options_end = True
        else:
            flag, text = _divided(argument)
            if flag not in flags:
                raise no_such("option", flag, flags)
            if not flags[flag].metavar:
                if text is not None:
                    raise bad_usage(f"{flag} takes no value")
            elif text is None and (text := next(rest, None)) is None:
                raise bad_usage(f"{flag} needs a value: {flags[flag].metavar}")
            yield flags[flag], flag, text


def _divided(argument: str) -> tuple[str, str | None]:
    """The flag in `--flag=text`, `-ftext`, `--flag` or `-f`, and the text."""
    if argument.startswith("--"):
        flag, equals, text = argument.partition("=")
        return flag, text if equals else None
    return argument[:2], argument[2:] or None
