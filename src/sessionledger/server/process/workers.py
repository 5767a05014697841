"""Several processes on one socket, and one that looks after them.

The first process serves nothing and opens no ledger: it forks while it is small, and replaces a
worker that dies. Workers hold the end of a pipe, by which they notice when it is gone itself.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import NamedTuple, NoReturn, TypeAlias

from sessionledger import SessionLedgerError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
SHORT_SECONDS = 1.0

Work: TypeAlias = Callable[[int, int, bool], int]
"""Told which worker it is, the end of the pipe, and whether it replaces one that ended by itself;
answers an exit code. It logs: the first process must not block on standard error."""

_LOG = logging.getLogger("sessionledger.server")


class _Worker(NamedTuple):
    number: int
    begun: float


def supervise(count: int, work: Work, stop_listening: Callable[[], None]) -> int:
    """Run `work` in so many forked processes until told to stop; answer the exit code.

    A worker that is killed is replaced. One that fails by itself could not start: then all are
    stopped, and its exit code is the answer.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    lifeline, ours = os.pipe()

    def begin(number: int, is_replacement: bool = False) -> tuple[int, _Worker]:
        pid = os.fork()
        if pid == 0:
            os.close(ours)
            _become(partial(work, number, lifeline, is_replacement))
        return pid, _Worker(number, time.monotonic())

    workers = dict(begin(number) for number in range(count))
    code = 0
    while not code and signal.sigwait(SIGNALS) == signal.SIGCHLD:
        for worker, ended in _ended(workers):
            code = max(code, ended)
            if not code:
                _pause_after(worker)
                workers.update([begin(worker.number, is_replacement=True)])
    stop_listening()
    _stop(workers)
    return code


def _become(work: Callable[[], int]) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    code = 1
    try:
        code = work()
    except SessionLedgerError as error:
        _LOG.error("%s", error)
    except Exception:  # noqa: BLE001  the process ends with it
        _LOG.exception("the worker failed")
    finally:
        logging.shutdown()
        # Not the way of the process that was forked, whose buffers and exit handlers are its own.
        os._exit(code)


def _ended(workers: dict[int, _Worker]) -> Iterator[tuple[_Worker, int]]:
    """The workers that are gone, each with its exit code; negative for a signal."""
    for pid, code in reaped():
        if pid in workers:
            yield workers.pop(pid), code


def reaped() -> Iterator[tuple[int, int]]:
    """The children that have ended, each with its exit code.

    Process 1 of a container gets the children of others, too. They end only when it asks.
    """
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            yield ended[0], os.waitstatus_to_exitcode(ended[1])


def _pause_after(worker: _Worker) -> None:
    """Workers that die as soon as they are there are not replaced as fast as that."""
    time.sleep(max(0.0, worker.begun + SHORT_SECONDS - time.monotonic()))


def _stop(workers: dict[int, _Worker]) -> None:
    for pid in workers:
        os.kill(pid, signal.SIGTERM)
    for pid in workers:
        os.waitpid(pid, 0)
