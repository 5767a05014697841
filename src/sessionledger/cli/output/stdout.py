"""Standard output: who reads it, and what happens when nobody does any more.

Importing this module is cheap. Every command does, also those that never touch a ledger.
"""

from __future__ import annotations

import sys

# A quiet ledger is watched for this long before checking whether anybody still reads the output.
PATIENCE_SECONDS = 0.5


class PipeClosed(Exception):
    """The reader of the output stopped reading."""


def on_terminal() -> bool:
    """Whether a person reads the output, and the package that draws tables is installed."""
    return sys.stdout.isatty() and can_draw()


def can_draw() -> bool:
    """Whether the extra `cli` is installed. Without it a terminal shows what a pipe gets."""
    from importlib.util import find_spec  # not imported in a pipe

    return find_spec("rich") is not None


def write(text: str) -> None:
    """A line on stdout. Raises `PipeClosed`."""
    try:
        sys.stdout.write(text + "\n")
    except BrokenPipeError:
        raise PipeClosed from None


def flush() -> None:
    """Hand over what was written. Raises `PipeClosed`."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise PipeClosed from None


def check_reader() -> None:
    """Raises `PipeClosed` when the reader of the output has gone, without writing anything."""
    from select import poll

    watch = poll()
    watch.register(sys.stdout, 0)
    if watch.poll(0):
        raise PipeClosed
