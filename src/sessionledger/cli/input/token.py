"""Where a token comes from: the environment, standard input, or a prompt that does not echo.

Never from an argument, which every user of the machine could read in the process list.
"""

from __future__ import annotations

import os
import sys

from sessionledger.cli.exit_codes import USAGE, Failure

VARIABLE = "SESSIONLEDGER_TOKEN"
_MAX_BYTES = 1 << 16


def read_token() -> str:
    """The token of the caller. Raises `Failure` without one."""
    return os.environ.get(VARIABLE, "") or read_token_from_input()


def read_token_from_input() -> str:
    """The token on the first line of standard input, or typed unseen. Raises `Failure`."""
    token = _prompt() if sys.stdin is not None and sys.stdin.isatty() else _first_line()
    if not token.strip():
        raise Failure(
            USAGE, "no_token", f"no token: give it on standard input, or in the variable {VARIABLE}"
        )
    return token


def _prompt() -> str:
    from getpass import getpass

    try:
        return getpass("token: ")
    except EOFError:
        return ""


def _first_line() -> str:
    if sys.stdin is None:  # closed by the parent process
        return ""
    try:
        return sys.stdin.buffer.readline(_MAX_BYTES).decode()
    except UnicodeDecodeError:
        raise Failure(USAGE, "invalid_session", "token must be UTF-8 text") from None
