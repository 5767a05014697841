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
from typing import NamedTuple, NoReturn, TypeAlias

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
SHORT_SECONDS = 5.0

Work: TypeAlias = Callable[[int, int], int]
"""Told which worker it is, and the end of the pipe; answers an exit code."""

_LOG = logging.getLogger("sessionledger.server")


class _Worker(NamedTuple):
    number: int
    begun: float


def supervise(count: int, work: Work) -> int:
    """Run `work` in so many forked processes until told to stop; answer the exit code.

    A worker that ends too soon can't start at all: then all are stopped, and the answer is 1.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    lifeline, ours = os.pipe()

    def begin(number: int) -> tuple[int, _Worker]:
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            _become(work, number, lifeline)
        return pid, _Worker(number, time.monotonic())

    workers = dict(begin(number) for number in range(count))
    code = 0
    while signal.sigwait(SIGNALS) == signal.SIGCHLD:
        for pid in _ended(workers):
            worker = workers.pop(pid)
            _LOG.error("worker %d ended by itself", worker.number)
            if time.monotonic() - worker.begun < SHORT_SECONDS:
                code = 1
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                workers.update([begin(worker.number)])
    _stop(workers)
    return code


def _become(work: Work, number: int, lifeline: int) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    code = 1
    try:
        code = work(number, lifeline)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        # Not the way of the process that was forked, whose buffers and exit handlers are its own.
        os._exit(code)


def _ended(workers: dict[int, _Worker]) -> list[int]:
    return [pid for pid in workers if os.waitpid(pid, os.WNOHANG)[0] == pid]


def _stop(workers: dict[int, _Worker]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    for pid in workers:
        os.waitpid(pid, 0)
