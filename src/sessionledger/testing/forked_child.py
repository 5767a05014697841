"""Forked children of a test, which end in every case."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable

_PATIENCE = 60.0


def fork(job: Callable[[], object]) -> int:
    """Fork, run the job in the child and end it: 0 when the job returned, 1 when it raised."""
    with warnings.catch_warnings():
        # Forking a process that has threads is what the tests that do it are about.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        job()
        code = 0
    except BaseException as error:  # noqa: BLE001  nothing may leave the child
        with contextlib.suppress(BaseException):
            os.write(2, f"in the forked child: {error!r}\n".encode())
    finally:
        os._exit(code)


def reap(pid: int) -> int:
    """The exit code of a forked child; one that does not end is killed, and fails the test."""
    deadline = time.monotonic() + _PATIENCE
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
