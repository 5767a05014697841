"""Child processes of the tests: started, spoken with over pipes, and never waited for in vain."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sessionledger.testing.bench import PATIENCE

ROOT = Path(__file__).parents[3]


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    """A Python process that runs the script, with pipes for lines in and out."""
    return subprocess.Popen(
        [sys.executable, "-c", script, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def finish(child: subprocess.Popen[str]) -> str:
    """What the child wrote, once it has ended well."""
    out, err = child.communicate(timeout=PATIENCE)
    assert child.returncode == 0, err
    return out


def run(script: str, *arguments: object) -> str:
    """What a Python process that runs the script writes; it must end well."""
    return finish(start(script, *arguments))


@contextmanager
def running(script: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A Python process for as long as the block lasts."""
    with start(script, *arguments) as child:
        try:
            yield child
        finally:
            child.kill()


def ask(child: subprocess.Popen[str], line: str) -> str:
    """Send the child a line, and return the line that it answers."""
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(line + "\n")
    child.stdin.flush()
    return child.stdout.readline().rstrip("\n")


def fork(job: Callable[[], object]) -> int:
    """Fork, run the job in the child and end it: 0 when the job returned, 1 when it raised."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        job()
        code = 0
    except BaseException as error:
        with contextlib.suppress(BaseException):
            os.write(2, f"in the forked child: {error!r}\n".encode())
    finally:
        os._exit(code)


def reap(pid: int) -> int:
    """The exit code of a forked child; one that does not end is killed, and fails the test."""
    deadline = time.monotonic() + PATIENCE
    never = threading.Event()
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        never.wait(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise AssertionError("the forked child never ended")


def in_fork(job: Callable[[], object]) -> None:
    """Run the job in a forked child, where it must not raise."""
    assert reap(fork(job)) == 0
