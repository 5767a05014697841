"""The door: one call of the command line, from its arguments to its exit code.

Nothing but the standard library is imported before it is known that the extra is installed.
"""

from __future__ import annotations

import gc
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

EXTRA = ("typer", "rich")
MISSING = "the command line needs packages that are not installed: pip install 'sessionledger[cli]'"
NOWHERE = "standard output is closed: nothing was done, since the answer would be lost"


def run() -> None:
    """The entry point of the `sessionledger` script."""
    # Importing leaves much that stays and little to collect, and so does the end of the process,
    # where the collector would go through all of it several times for memory that goes anyway.
    gc.disable()
    try:
        code = main(sys.argv[1:])
    finally:
        gc.freeze()
    sys.exit(code)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command, and answer its exit code."""
    _never_fail_to_encode()
    if sys.stdout is None:
        print(f"error: {NOWHERE}", file=sys.stderr)
        return 2
    try:
        code = _carried_out(list(arguments))
    except KeyboardInterrupt:
        return 130  # while importing; what comes later says so itself
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in EXTRA:
            raise
        print(f"error: {MISSING}", file=sys.stderr)
        return 2
    if sys.stdout.closed:
        _leave_the_pipe()
    return code


def _carried_out(arguments: list[str]) -> int:
    from sessionledger.cli.outcome import outcome
    from sessionledger.cli.quick import plain_get

    as_json = "--json" in arguments
    quick = plain_get(arguments)
    if quick is not None:
        return outcome(quick.run, as_json)
    from sessionledger.cli.app import run

    gc.enable()  # what follows may run for days
    return outcome(lambda: run(arguments), as_json)


def _never_fail_to_encode() -> None:
    """A terminal that can't show a character gets its escape, not a traceback."""
    if sys.stderr is None:
        # What goes to no stderr would go to stdout, among the answers.
        sys.stderr = _nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _leave_the_pipe() -> None:
    """Give the interpreter something to flush at its end, now that nobody reads any more."""
    sys.stdout = _nowhere()


def _nowhere() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
