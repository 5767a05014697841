"""Several processes on one socket, and one that looks after them.

The first process serves nothing and opens no ledger: it forks while it is small, and replaces a
worker that dies. Workers hold the end of a pipe, by which they notice when it is gone itself.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
SHORT_SECONDS = 5.0

_LOG = logging.getLogger("sessionledger.server")


def supervise(count: int, work: Callable[[int], int]) -> int:
    """Run `work` in so many forked processes until told to stop; answer the exit code.

    A worker that ends too soon can't start at all: then all are stopped, and the answer is 1.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    lifeline, ours = os.pipe()
    workers = {_fork(work, lifeline, ours): time.monotonic() for _ in range(count)}
    code = 0
    while signal.sigwait(SIGNALS) == signal.SIGCHLD:
        for pid in _ended(workers):
            lived = time.monotonic() - workers.pop(pid)
            _LOG.error("worker %d ended after %.0f s", pid, lived)
            if lived < SHORT_SECONDS:
                code = 1
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                workers[_fork(work, lifeline, ours)] = time.monotonic()
    _stop(workers)
    return code


def _fork(work: Callable[[int], int], lifeline: int, ours: int) -> int:
    pid = os.fork()
    if pid == 0:
        _become_worker(work, lifeline, ours)
    return pid


def _become_worker(work: Callable[[int], int], lifeline: int, ours: int) -> NoReturn:
    os.close(ours)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    code = 1
    try:
        code = work(lifeline)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        # Not the way of the process that was forked, whose buffers and exit handlers are its own.
        os._exit(code)


def _ended(workers: dict[int, float]) -> list[int]:
    return [pid for pid in workers if os.waitpid(pid, os.WNOHANG)[0] == pid]


def _stop(workers: dict[int, float]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    for pid in workers:
        os.waitpid(pid, 0)
