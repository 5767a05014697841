"""The locks of logs, which interrupts hit at any moment."""

from __future__ import annotations

from pathlib import Path
from queue import Empty, SimpleQueue

import pytest

import sessionledger.logs
from sessionledger.logs.concurrency.locks import Permit
from sessionledger.testing.fixtures import PATIENCE
from tests.logs.children import run

# Interrupted again and again while it takes and releases the lock, which then has to be free.
INTERRUPTED = """
import random, signal, threading
from sessionledger.logs.concurrency.locks import Lock

def interrupt(*_):
    raise KeyboardInterrupt

def hit():
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-4))
        while True:
            with lock, lock:
                pass
    except KeyboardInterrupt:
        pass

lock, free = Lock(), []
signal.signal(signal.SIGALRM, interrupt)
for _ in range(500):
    hit()
    thread = threading.Thread(target=lambda: free.append(lock.acquire(blocking=False)))
    thread.start()
    thread.join()
    assert free.pop(), "an interrupt left it locked"
    lock = Lock()
"""


def test_an_interrupt_leaves_no_lock_locked() -> None:
    run(INTERRUPTED)


# Interrupted again and again while it takes and releases permits, all of which must return.
DIVIDED = """
import random, signal
from queue import SimpleQueue
from sessionledger.logs.concurrency.locks import Permit

def interrupt(*_):
    raise KeyboardInterrupt

def use():
    permit = Permit(permits)
    try:
        permit.take(10)
    finally:
        permit.give_back()

def hit():
    try:
        signal.setitimer(signal.ITIMER_REAL, random.uniform(1e-5, 2e-4))
        while True:
            use()
    except KeyboardInterrupt:
        pass

permits = SimpleQueue()
permits.put(None)
permits.put(None)
signal.signal(signal.SIGALRM, interrupt)
for _ in range(500):
    hit()
    assert permits.qsize() == 2, "an interrupt lost a permit, or doubled it"
"""


def test_an_interrupt_loses_no_permit() -> None:
    run(DIVIDED)


def test_a_permit_returns_once() -> None:
    permits: SimpleQueue[None] = SimpleQueue()
    permits.put(None)
    permit = Permit(permits)
    permit.take(PATIENCE)
    with pytest.raises(Empty):
        Permit(permits).take(0)
    permit.give_back()
    permit.give_back()
    assert permits.qsize() == 1


def test_logs_make_no_reentrant_lock_that_an_interrupt_could_leave_locked() -> None:
    (folder,) = sessionledger.logs.__path__
    modules = Path(folder).rglob("*.py")
    assert not [path for path in modules if "threading.RLock(" in path.read_text()]
