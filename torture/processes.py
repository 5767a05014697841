"""Writers in processes of their own, which write one journal and can be killed at any moment."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

from torture.journal import Journal, Recorder, readable

Work = Callable[[Recorder, random.Random], None]


class Crew:
    """The writers of a trial. The parent has no thread and no open ledger while it forks."""

    def __init__(self, rng: random.Random, folder: Path) -> None:
        self.journal = Journal()
        self._printed = folder / "printed"
        self._rng = rng
        self._read, self._write = os.pipe()
        self._living: list[int] = []
        self._begun = 0

    def start(self, work: Work) -> int:
        """Begin a process that does the work as the next writer; its id."""
        self._begun += 1
        recorder = Recorder(self._begun, lambda line: os.write(self._write, line))
        rng = random.Random(self._rng.random())
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            _be_a_child(work, recorder, rng, self._printed)
        self._living.append(pid)
        return pid

    @property
    def next_writer(self) -> int:
        """A number that no writer has, for calls of the parent."""
        self._begun += 1
        return self._begun

    @property
    def living(self) -> list[int]:
        """The processes that were not ended."""
        return list(self._living)

    def read(self, seconds: float = 0) -> bool:
        """Take in what the writers said; whether they said anything within so many seconds."""
        said = False
        while readable(self._read, 0 if said else seconds):
            self.journal.feed(os.read(self._read, 1 << 16))
            said = True
        return said

    def read_lines(self, more: int, seconds: float = 20) -> None:
        """Wait for so many more lines, or until nobody works. Raises `TimeoutError`."""
        wanted = len(self.journal.entries) + more
        until = time.monotonic() + seconds
        while len(self.journal.entries) < wanted and self.is_alive(self.living):
            self.read(0.05)
            if time.monotonic() > until:
                raise TimeoutError(f"no writer said anything more within {seconds} s")

    def kill(self, pid: int, sent: signal.Signals = signal.SIGKILL) -> None:
        """End a writer by a signal, and take in what it had said."""
        os.kill(pid, sent)
        self.wait(pid)

    def wait(self, pid: int, seconds: float = 60) -> None:
        """Wait until a writer ended by itself. Raises `TimeoutError`."""
        until = time.monotonic() + seconds
        while not os.waitpid(pid, os.WNOHANG)[0]:
            self.read(0.002)
            if time.monotonic() > until:
                raise TimeoutError(f"a writer did not end within {seconds} s")
        self._living.remove(pid)
        self.read()

    def is_alive(self, pids: Sequence[int]) -> bool:
        """Whether one of these writers has not ended by itself yet."""
        for pid in self._living.copy():
            if pid in pids and os.waitpid(pid, os.WNOHANG)[0]:
                self._living.remove(pid)
        return any(pid in self._living for pid in pids)

    def wait_for_all(self, seconds: float = 60) -> None:
        """Wait until every writer ended by itself."""
        for pid in list(self._living):
            self.wait(pid, seconds)

    def kill_all(self) -> int:
        """Kill every writer at one moment; how many that were."""
        pids = list(self._living)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            self.wait(pid)
        return len(pids)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill_all()
        os.close(self._read)
        os.close(self._write)


def _be_a_child(work: Work, recorder: Recorder, rng: random.Random, printed: Path) -> None:
    try:
        _print_into(printed)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(0)
        with recorder.call("work") as answer:
            work(recorder, rng)
            answer.done()
    finally:
        os._exit(0)


def _print_into(path: Path) -> None:
    """Everything that this process prints or logs goes to a file, which is searched for tokens."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)


def within(seconds: int) -> None:
    """Raise `TimeoutError` in this process after so many seconds; 0 takes that back."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(seconds)


def _too_late(_signal: int, _frame: FrameType | None) -> None:
    raise TimeoutError("the trial did not end in time")
