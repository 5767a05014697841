"""Other processes of a test: they open the log at the same path, and do as they are told."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from sessionledger.logs.base import Log

P = ParamSpec("P")
T = TypeVar("T")

# Each is forked from a process that has imported what they need, and has opened nothing. So it
# starts as quickly as a fork, and shares nothing with the tests' own process.
_starting = multiprocessing.get_context("forkserver")
_starting.set_forkserver_preload(["sessionledger.testing.jobs"])
_PATIENCE = 60.0


Stopped: TypeAlias = Callable[[], bool]
"""Whether the child is to stop."""


class Child:
    """A process with a log of its own. Its jobs are functions of a module.

    It is not a fork of this process, so `open` is pickled: functions by their names.
    """

    def __init__(self, open: Callable[[], Log]) -> None:
        self._connection, theirs = _starting.Pipe()
        self._process = _starting.Process(target=_serve, args=(open, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def begin(
        self, job: Callable[Concatenate[Log, Stopped, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Have it begin a job, which may ask whether it is to stop."""
        self._connection.send((job, args, kwargs))

    def stop(self) -> None:
        """Have its job stop."""
        self._connection.send(None)

    def answer(self) -> Any:
        """What the job answered. Raises what it raised."""
        assert self._connection.poll(_PATIENCE), "another process never answered"
        try:
            answer, error = self._connection.recv()
        except EOFError:
            raise AssertionError("another process ended: what it wrote says why") from None
        if error is not None:
            raise error
        return answer

    def do(
        self, job: Callable[Concatenate[Log, Stopped, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """What a job answers."""
        self.begin(job, *args, **kwargs)
        answer: T = self.answer()
        return answer

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        self._process.kill()
        self._process.join(_PATIENCE)

    def end(self) -> None:
        """Have it close its log and end."""
        self._connection.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        self._process.close()


def elsewhere(job: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
    """Have a function of a module done in a process of its own, which must end well."""
    process = _starting.Process(target=job, args=args, kwargs=kwargs, daemon=True)
    process.start()
    process.join(_PATIENCE)
    assert process.exitcode == 0, "another process failed or hangs: what it wrote says why"
    process.close()


def _serve(open: Callable[[], Log], connection: Connection) -> None:
    log = open()
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            asked = connection.recv()
            if asked is not None:
                connection.send(_done(log, connection.poll, *asked))
    log.close()


def _done(
    log: Log, is_stopped: Stopped, job: Callable[..., Any], args: Any, kwargs: Any
) -> tuple[Any, BaseException | None]:
    try:
        return job(log, is_stopped, *args, **kwargs), None
    except Exception as error:  # noqa: BLE001  it is raised where the answer is awaited
        return None, error
