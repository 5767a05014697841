"""What became of a command: its exit code, and what is said where it failed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

from sessionledger.cli.exits import INTERRUPTED, OK, PIPE_CLOSED, report
from sessionledger.cli.present import PipeClosed, flush


def outcome(command: Callable[[], int | None], as_json: bool) -> int:
    """Carry out a command, and answer its exit code. Errors are told on stderr."""
    try:
        code = command()
        flush()
    except PipeClosed:
        _stop_writing()
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  `report` raises what it does not know
        if isinstance(error, OSError):
            _stop_writing()
        return report(error, as_json)
    return code or OK


def _stop_writing() -> None:
    """Close stdout, or the interpreter would fail at its end on what is left in the buffer."""
    with suppress(OSError):
        sys.stdout.close()
