"""The locks of logs, which interrupts hit at any moment."""

from __future__ import annotations

from pathlib import Path

import sessionledger.logs
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


def test_logs_make_no_reentrant_lock_that_an_interrupt_could_leave_locked() -> None:
    (folder,) = sessionledger.logs.__path__
    modules = Path(folder).rglob("*.py")
    assert not [path for path in modules if "threading.RLock(" in path.read_text()]
