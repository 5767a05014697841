"""One call of the command line, from its arguments to its exit code."""

from __future__ import annotations

import atexit
import gc
import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from sessionledger.cli import application
from sessionledger.cli.exit_codes import INTERRUPTED, OK, PIPE_CLOSED, USAGE
from sessionledger.cli.output.stdout import PipeClosed, flush

_OBJECTS_OF_IMPORTS = 25_000
_CLOSED = "standard output is closed: nothing was done, since the answer would be lost"


def run() -> None:
    """The entry point of the `sessionledger` script."""
    # What is imported stays, and the collector would walk it several times in vain.
    gc.set_threshold(_OBJECTS_OF_IMPORTS)
    code = main(sys.argv[1:])
    if atexit._ncallbacks():  # noqa: SLF001  a few are registered by tools that wrap this one
        sys.exit(code)
    # Nothing is left to do but to free what was imported, which takes longer than a query.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


def main(arguments: Sequence[str]) -> int:
    """Carry out one command, and return its exit code. Errors are told on stderr."""
    _never_fail_to_encode()
    if sys.stdout is None:
        print(f"error: {_CLOSED}", file=sys.stderr)
        return USAGE
    code = _carry_out(arguments)
    if sys.stdout.closed:
        # The interpreter needs something to flush at its end.
        sys.stdout = _null()
    return code


def _carry_out(arguments: Sequence[str]) -> int:
    try:
        code = application.run(arguments)
        flush()
    except PipeClosed:
        _stop_writing()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  `report` raises what it does not know
        if isinstance(error, OSError):
            _stop_writing()
        from sessionledger.cli.output.errors import report

        return report(error, "--json" in arguments)
    return code or OK


def _stop_writing() -> None:
    """Close stdout, or the interpreter would fail at its end on what is left in the buffer."""
    with suppress(OSError):
        sys.stdout.close()


def _never_fail_to_encode() -> None:
    """A terminal that can't show a character gets its escape, not a traceback."""
    if sys.stderr is None:
        # Otherwise `print` would write errors to stdout, among the answers.
        sys.stderr = _null()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _null() -> TextIO:
    return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
