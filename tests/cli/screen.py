"""A pseudo-terminal that commands write to."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import termios
from collections.abc import Sequence

from tests.cli.running import Line


class Screen:
    """160 columns wide; what is run there is the command that it is given."""

    def __init__(self, line: Line, command: Sequence[str]) -> None:
        self._line = line
        self._command = command

    def __call__(self, *arguments: str, **variables: str) -> str:
        """Everything that the command writes."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 160, 0, 0))
        process = subprocess.Popen(
            [*self._command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            cwd=self._line.folder,
            env=self._line.environment(TERM="xterm", **variables),
        )
        os.close(theirs)
        seen = read_all(ours)
        process.wait(60)
        return seen


def read_all(terminal: int) -> str:
    """What is written to a terminal until nobody has it open."""
    content = b""
    try:
        while piece := os.read(terminal, 65536):
            content += piece
    except OSError:  # the other side is closed
        pass
    os.close(terminal)
    return content.decode()
