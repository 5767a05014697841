"""An interrupt may come anywhere, and leaves the ledger as it was, or one event further.

Each test runs in a process of its own, which alone is interrupted.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionledger.testing.bench import PATIENCE
from tests.logs.sqlite.children import run

HITS = 100

# Interrupted while BEGIN IMMEDIATE waits for the lock of another process. That it waits is known:
# its statement has begun, no Python runs in it any more, and the lock is held.
WAITING = """
import os, signal, sys, threading
import apsw
from sessionledger import SessionStore
from tests.logs.sqlite.children import ask, run, running

HOLDER = '''
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
connection.execute("COMMIT")
print("released", flush=True)
'''
OTHER = '''
import apsw, sys
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(1000)
connection.execute("BEGIN IMMEDIATE")
connection.execute("ROLLBACK")
'''

signal.signal(signal.SIGINT, signal.default_int_handler)
store = SessionStore.open("sqlite:///" + sys.argv[1])
token = store.create("alice").token
begun = threading.Event()

def interrupt(holder, main):
    begun.wait()
    while sys._current_frames()[main].f_code.co_name != "_transact":
        threading.Event().wait(0.001)
    os.kill(os.getpid(), signal.SIGINT)
    assert ask(holder, "release") == "released"

for action in (lambda: store.create("bob"), lambda: store.touch(token)):
    begun.clear()
    with running(HOLDER, sys.argv[1]) as holder:
        assert holder.stdout.readline() == "held\\n"
        connection = store._log._writer.connection
        connection.trace_v2(apsw.SQLITE_TRACE_STMT, lambda _: begun.set())
        job = threading.Thread(target=interrupt, args=(holder, threading.get_ident()))
        job.start()
        try:
            action()
        except KeyboardInterrupt:
            pass
        else:
            raise AssertionError("it was not interrupted")
        job.join()
        connection.trace_v2(0, None)
    run(OTHER, sys.argv[1])
    before = store.count()
    assert store.create("carol").version
    assert store.touch(token) is not None
    assert store.count() == before + 1
    run(OTHER, sys.argv[1])
    assert store.verify().ok
"""

# Interrupted at random moments of reads and writes, and asked each time whether all is well.
ANYWHERE = """
import random, signal, sys, threading
from sessionledger import LogUnavailable, SessionStore

armed = False

def interrupt(*_):
    if armed:
        raise KeyboardInterrupt

def hit(action, longest):
    "Whether the action was interrupted before it was done twenty times."
    global armed
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, random.uniform(2e-5, longest))
        for _ in range(20):
            action()
        armed = False
    except KeyboardInterrupt:
        armed = False
        return True
    signal.setitimer(signal.ITIMER_REAL, 0)
    return False

def elsewhere(action):
    "What the action answers in another thread, which must end."
    answers = []
    thread = threading.Thread(target=lambda: answers.append(action()), daemon=True)
    thread.start()
    thread.join(patience)
    assert answers, "the thread failed or hangs"
    return answers[0]

url, mode, hits, patience = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
random.seed(mode)
signal.signal(signal.SIGALRM, interrupt)
store = SessionStore.open(url, durability="normal")
base = store.create("alice").token
actions = {
    "reads": [lambda: store.get("a token that nobody was ever given"), lambda: store.count()],
    "gets": [lambda: store.get(base)],
    "writes": [lambda: store.create("bob"), lambda: store.touch(base)],
    "listings": [lambda: list(store.sessions(principal="alice")), lambda: store.history(
        principal="alice")],
}[mode]
longest = {"reads": 2e-4, "gets": 5e-5, "writes": 1e-3, "listings": 5e-4}[mode]
while hits:
    if not hit(random.choice(actions), longest):
        continue
    hits -= 1
    issued = elsewhere(lambda: store.create("carol"))
    assert store.get(issued.token) is not None
    assert elsewhere(lambda: store.expire(issued.token)) is not None
    assert store.get(issued.token) is None
    assert store.find(handle=issued.handle) is None
    assert store.count(principal="carol") == 0
assert store.get(base) is not None
assert store.create("dave").version
assert store.verify().ok
store.close()
"""


def test_an_interrupt_while_another_process_holds_the_lock(tmp_path: Path) -> None:
    run(WAITING, tmp_path / "ledger")


@pytest.mark.parametrize("mode", ["reads", "gets", "listings"])
def test_interrupts_anywhere(tmp_path: Path, mode: str) -> None:
    run(ANYWHERE, f"sqlite:///{tmp_path}/ledger", mode, HITS, PATIENCE)


def test_interrupts_anywhere_in_writes(tmp_path: Path) -> None:
    run(ANYWHERE, f"sqlite:///{tmp_path}/ledger", "writes", 20 * HITS, 2)


def test_interrupts_anywhere_in_memory() -> None:
    run(ANYWHERE, "memory:", "gets", 10 * HITS, 2)
