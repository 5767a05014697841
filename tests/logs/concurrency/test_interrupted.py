"""Interrupts wherever CPython raises them: where a call ends, and where a function begins."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytest

from sessionledger.logs.concurrency.lock_file import LockFile
from sessionledger.logs.concurrency.locks import TimedLock
from sessionledger.logs.concurrency.reentrancy import Mutex
from sessionledger.logs.concurrency.waiting import Waiters


def interrupted(call: Callable[[], object], moment: int) -> bool:
    """Whether a call was interrupted at a moment: that many of them pass before it."""
    left = moment

    def hit(_: FrameType, event: str, __: object) -> None:
        nonlocal left
        if event in ("call", "c_return"):
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

    try:
        sys.setprofile(hit)
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
    return False


def at_every_moment(call: Callable[[], object], check: Callable[[], None]) -> None:
    moment = 0
    while interrupted(call, moment):
        check()
        moment += 1
    assert moment > 3, "it was interrupted"
    check()


def in_a_thread(work: Callable[[], object]) -> None:
    """Do the work in another thread, which must end well."""
    done: list[object] = []
    thread = threading.Thread(target=lambda: done.append(work()))
    thread.start()
    thread.join()
    assert done


def test_a_mutex_is_free_afterwards() -> None:
    mutex = Mutex()
    at_every_moment(
        lambda: mutex.run(lambda: None, monotonic() + 1),
        lambda: in_a_thread(lambda: mutex.run(lambda: None, monotonic())),
    )


def test_a_lock_that_waits_for_a_time_is_free_afterwards() -> None:
    lock = TimedLock()
    lock.timeout = 0.0

    def enter() -> None:
        with lock:
            pass

    at_every_moment(enter, lambda: in_a_thread(enter))


def test_a_lock_is_free_after_a_second_interrupt_too() -> None:
    lock = TimedLock()
    lock.timeout = 0.0
    hits: list[str] = []

    def enter() -> None:
        with lock:
            pass

    def hit(_: FrameType, event: str, __: object) -> None:
        if event == "c_return":
            raise KeyboardInterrupt

    def again(_: FrameType, event: str, __: object) -> Any:
        # The first interrupt ended the profile, as the second one does.
        if event == "exception" and not hits:
            hits.append(event)
            sys.setprofile(hit)
        return again

    def enter_twice_interrupted() -> None:
        hits.clear()
        try:
            sys.settrace(again)
            enter()
        finally:
            sys.settrace(None)

    before = sys.gettrace()
    try:
        at_every_moment(enter_twice_interrupted, lambda: in_a_thread(enter))
    finally:
        sys.settrace(before)


def test_a_lock_file_is_free_afterwards(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir(0o700)
    ours, another = (LockFile(tmp_path / "lock", ledger) for _ in range(2))

    def is_free() -> None:
        assert another.try_to_acquire()
        another.release()

    at_every_moment(lambda: ours.run(lambda: None, monotonic() + 1), is_free)
    ours.close()
    another.close()


def test_nobody_is_taken_for_the_one_that_looks() -> None:
    waiters = Waiters()

    def is_idle() -> None:
        assert not waiters._looking

    at_every_moment(lambda: waiters.wait_above("topic", 0, lambda: 1, 0.0), is_idle)


@pytest.mark.parametrize("call", ["acquire", "release", "try_to_acquire"])
def test_a_closed_lock_file_is_refused(tmp_path: Path, call: str) -> None:
    ledger = tmp_path / "ledger"
    ledger.mkdir(0o700)
    lock_file = LockFile(tmp_path / "lock", ledger)
    lock_file.close()
    with pytest.raises(OSError, match="the lock file is closed"):
        getattr(lock_file, call)()
