"""An interrupt may come anywhere, and leaves the ledger as it was, or one event further.

Each test runs in a process of its own, which alone is interrupted.
"""

from __future__ import annotations

import pytest

from sessionledger.testing.fixtures import PATIENCE
from tests.logs.children import run

HITS = 50

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
    "waits": [lambda: store._log.wait("orchestrator.sessions", 1 << 60, 1e-4)],
    "writes": [lambda: store.create("bob"), lambda: store.touch(base)],
    "listings": [lambda: list(store.sessions(principal="alice")), lambda: list(store.history(
        principal="alice"))],
}[mode]
longest = {"reads": 2e-4, "gets": 5e-5, "writes": 1e-3, "listings": 5e-4,
    "waits": 2e-4}[mode]
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


@pytest.mark.parametrize("mode", ["reads", "gets", "listings", "waits"])
def test_interrupts_anywhere(url: str, mode: str) -> None:
    run(ANYWHERE, url, mode, HITS, PATIENCE)


@pytest.mark.middle
def test_interrupts_anywhere_in_writes(url: str) -> None:
    run(ANYWHERE, url, "writes", 5 * HITS, 2)


@pytest.mark.slow
def test_interrupts_anywhere_in_many_writes(url: str) -> None:
    run(ANYWHERE, url, "writes", 40 * HITS, 2, patience=10 * PATIENCE)


@pytest.mark.parametrize("mode", ["gets", "waits"])
def test_interrupts_anywhere_in_memory(mode: str) -> None:
    run(ANYWHERE, "memory:", mode, 10 * HITS, 2)
