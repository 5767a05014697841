"""The lock file: nobody waits for ever, and no thread keeps what nobody waits for any more."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from time import monotonic

import pytest

from sessionledger import LogTimeout
from sessionledger.logs.concurrency.lock_file import LockFile
from sessionledger.testing.fixtures import PATIENCE, concurrently, until
from tests.logs.children import run

# Its main thread is interrupted in the middle of work that another thread does for it.
INTERRUPTED = """
import signal, sys, threading, time
from pathlib import Path
from sessionledger.logs.concurrency.lock_file import LockFile

mine, other = (LockFile(Path(sys.argv[1]) / "lock", Path(sys.argv[1])) for _ in range(2))
assert other.try_to_acquire()

def work():
    assert threading.current_thread() is not threading.main_thread()
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
    told.wait(60)
    print("done")

def interrupt(*_):
    told.set()
    raise KeyboardInterrupt

told = threading.Event()
signal.signal(signal.SIGINT, interrupt)
threading.Timer(0.05, other.release).start()
try:
    mine.run(work, time.monotonic() + 60)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.fixture
def mine(tmp_path: Path) -> Iterator[LockFile]:
    yield from opened(tmp_path)


@pytest.fixture
def other(tmp_path: Path) -> Iterator[LockFile]:
    yield from opened(tmp_path)


def opened(folder: Path) -> Iterator[LockFile]:
    lock = LockFile(folder / "lock", folder)
    yield lock
    lock.close()


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def nothing() -> None: ...


def test_whoever_waits_in_vain_learns_who_has_it(mine: LockFile, other: LockFile) -> None:
    assert other.try_to_acquire()
    said = rf"process {os.getpid()} \(.*\) is still writing .*nothing was written"
    with pytest.raises(LogTimeout, match=said):
        mine.run(nothing, monotonic())
    other.release()
    mine.run(nothing, monotonic() + PATIENCE)


def test_whoever_waits_has_it_while_the_work_is_done(mine: LockFile, other: LockFile) -> None:
    def work() -> bool:
        return other.try_to_acquire()

    assert other.try_to_acquire()
    answers = concurrently(lambda: mine.run(work, monotonic() + PATIENCE), other.release)
    assert answers[0] is False
    assert other.try_to_acquire()


def test_what_the_work_raises_is_raised_and_the_lock_is_free(
    mine: LockFile, other: LockFile
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    assert other.try_to_acquire()

    def waiting() -> None:
        with pytest.raises(ZeroDivisionError):
            mine.run(fail, monotonic() + PATIENCE)

    concurrently(waiting, other.release)
    until(other.try_to_acquire)


def test_one_thread_waits_however_often_it_was_given_up(mine: LockFile, other: LockFile) -> None:
    before = threads()
    assert other.try_to_acquire()
    done: list[int] = []
    for n in range(5):
        with pytest.raises(LogTimeout):
            mine.run(partial(done.append, n), monotonic() + 0.01)
    assert threads() <= before + 1
    other.release()
    mine.run(partial(done.append, 5), monotonic() + PATIENCE)
    assert done == [5], "what was given up is never done"
    mine.close()
    until(lambda: threads() <= before)


def test_work_that_has_begun_is_waited_for_by_an_interrupted_caller(tmp_path: Path) -> None:
    assert run(INTERRUPTED, tmp_path) == "done\ninterrupted\n"


def test_a_lock_file_that_was_replaced_meanwhile_is_locked_again(
    mine: LockFile, other: LockFile
) -> None:
    assert other.try_to_acquire()
    with pytest.raises(LogTimeout):
        mine.run(nothing, monotonic())
    other.path.unlink()
    other.release()
    third = LockFile(mine.path, mine.path.parent)
    assert mine.run(third.try_to_acquire, monotonic() + PATIENCE) is False
    third.close()


def test_a_lock_whose_closing_fails_is_closed(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "lock", tmp_path)
    os.close(lock._descriptor())
    lock.close()
    lock.close()
