"""Another process that writes, and stops itself in the middle of it as SIGSTOP does."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.logs.children import finish, running

# It has the turn to write, has written, and has committed nothing.
SCRIPT = """
import os, signal, sys
from sessionledger import SessionStore
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.sqlite.writer import Writer

def stopping(method):
    def stopped(*given):
        answer = method(*given)
        os.kill(os.getpid(), signal.SIGSTOP)
        return answer
    return stopped

with SessionStore.open(sys.argv[1]) as store:
    Writer.write, Disk._flush = stopping(Writer.write), stopping(Disk._flush)
    print(store.create("stopped").token)
"""


class StoppedWriter:
    """A process that stands still amid a create."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.pid = process.pid

    def resume(self) -> str:
        """Let it go on, and end; the token that it created."""
        os.kill(self.pid, signal.SIGCONT)
        return finish(self._process).strip()


@contextmanager
def stopped_writer(url: str) -> Iterator[StoppedWriter]:
    """A process that writes to the ledger and was stopped; it is killed at the end."""
    with running(SCRIPT, url) as process:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        assert process.poll() is None, process.communicate()
        yield StoppedWriter(process)
