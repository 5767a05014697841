"""Signal handlers that write, read or fork, in the middle of their own thread's calls.

Each test runs in a process of its own, and would never end if anything waited for itself.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.logs.children import run

WRITES = """
import signal, sys
from sessionledger import LogUnavailable, SessionStore

store = SessionStore.open(sys.argv[1], durability="normal")
token = store.create("alice").token
refused = 0

def write(*_):
    global refused
    try:
        store.touch(token)
    except LogUnavailable as error:
        assert "signal handler" in str(error), error
        refused += 1
    signal.setitimer(signal.ITIMER_REAL, 0.0003)

signal.signal(signal.SIGALRM, write)
signal.setitimer(signal.ITIMER_REAL, 0.0003)
while refused < 20:
    store.create("bob")
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert store.create("carol").version
assert store.verify().ok
"""

READS = """
import signal, sys
from sessionledger import LogUnavailable, SessionStore

store = SessionStore.open(sys.argv[1], durability="normal")
token = store.create("alice").token
for _ in range(1000):
    store.create("bob")
# Each is one long statement, or several in one snapshot.
calls = [lambda: store.verify(), lambda: store.count(), lambda: store.get(token)]
refused = 0

def read(*_):
    global refused
    try:
        assert store.count()
        assert list(store.history(handle=handle))
    except LogUnavailable as error:
        assert "signal handler" in str(error), error
        refused += 1
    if refused < 20:
        signal.setitimer(signal.ITIMER_REAL, 0.0003)

handle = store.get(token).handle
signal.signal(signal.SIGALRM, read)
signal.setitimer(signal.ITIMER_REAL, 0.0003)
while refused < 20:
    for call in calls:
        assert call()
assert store.create("carol").version
assert store.verify().ok
"""

READS_AMID_WRITES = """
import signal, sys
from sessionledger import LogUnavailable, SessionStore

store = SessionStore.open(sys.argv[1], durability="normal")
token = store.create("alice").token
created = answered = 0

def read(*_):
    global answered
    try:
        assert store.get(token).principal == "alice"
        # Each of the acknowledged ones, and perhaps the one that was interrupted.
        assert created <= store.count(principal="bob") <= created + 1
        answered += 1
    except LogUnavailable as error:
        assert "signal handler" in str(error), error
    signal.setitimer(signal.ITIMER_REAL, 0.0003)

signal.signal(signal.SIGALRM, read)
signal.setitimer(signal.ITIMER_REAL, 0.0003)
while answered < 20:
    store.create("bob")
    created += 1
signal.signal(signal.SIGALRM, signal.SIG_IGN)
assert store.count(principal="bob") == created
assert store.verify().ok
"""

FORKS = """
import os, signal, sys
from sessionledger import LogUnavailable, SessionStore
from sessionledger.testing.forked_child import reap

store = SessionStore.open(sys.argv[1], durability="normal")
token = store.create("alice").token
refused = forks = 0
action = {"reads": lambda: store.count(), "writes": lambda: store.create("bob")}[sys.argv[2]]

def use():
    "0: the child works with the ledger. 3: it is told that it can't."
    try:
        store.create("child")
        return 0
    except LogUnavailable as error:
        assert "handler" in str(error), error
    try:
        SessionStore.open(sys.argv[1])
    except LogUnavailable:
        return 3
    return 4

def fork(*_):
    global refused, forks
    pid = os.fork()
    if not pid:
        code = 1
        try:
            code = use()
        finally:
            os._exit(code)
    code = reap(pid)
    assert code in (0, 3), code
    refused += code == 3
    forks += 1

signal.signal(signal.SIGALRM, fork)
while not refused:
    done = forks  # before the timer: its signal may come at once
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    while forks == done:
        action()
assert store.get(token) is not None
assert store.create("carol").version
assert store.verify().ok
"""

FORKS_FILES = """
import os, signal, sys
from sessionledger import SessionStore
from sessionledger.testing.forked_child import reap

store = SessionStore.open(sys.argv[1], durability="normal")
token = store.create("alice").token
forks = 0

def fork(*_):
    global forks
    pid = os.fork()
    if not pid:
        os._exit(0)
    assert reap(pid) == 0
    forks += 1

signal.signal(signal.SIGALRM, fork)
for _ in range(50):
    done = forks  # before the timer: its signal may come at once
    signal.setitimer(signal.ITIMER_REAL, 0.0003)
    while forks == done:
        store.create("bob")
assert store.get(token) is not None
assert store.create("carol").version
assert store.verify().ok
"""

TWO_FORK = """
import os, sys, threading
from sessionledger import SessionStore
from sessionledger.testing.forked_child import in_fork

store, other = SessionStore.open(sys.argv[1]), SessionStore.open(sys.argv[2])
over = threading.Event()

def write(which):
    while not over.is_set():
        which.create("thread")

def fork():
    for _ in range(50):
        in_fork(lambda: None)

writers = [threading.Thread(target=write, args=(one,), daemon=True) for one in (store, other)]
forkers = [threading.Thread(target=fork, daemon=True) for _ in range(2)]
for thread in writers + forkers:
    thread.start()
for thread in forkers:
    thread.join(60)
    assert not thread.is_alive(), "a fork never ended"
over.set()
for thread in writers:
    thread.join(60)
    assert not thread.is_alive(), "a writer waits for ever"
in_fork(lambda: [one.create("child") for one in (store, other)])
assert store.verify().ok and other.verify().ok
"""


@pytest.mark.parametrize("url", ["memory:", "file://{}/ledger", "sqlite:///{}/ledger.db"])
def test_a_handler_that_writes_amid_a_write_is_refused(tmp_path: Path, url: str) -> None:
    run(WRITES, url.format(tmp_path))


@pytest.mark.parametrize("url", ["memory:", "file://{}/ledger", "sqlite:///{}/ledger.db"])
def test_a_handler_that_reads_amid_a_write_sees_what_was_acknowledged(
    tmp_path: Path, url: str
) -> None:
    run(READS_AMID_WRITES, url.format(tmp_path))


def test_a_handler_that_reads_amid_a_read_of_sqlite_is_refused(tmp_path: Path) -> None:
    run(READS, f"sqlite:///{tmp_path}/ledger.db")


def test_a_handler_that_forks_amid_a_write_to_files_ends(tmp_path: Path) -> None:
    run(FORKS_FILES, f"file://{tmp_path}/ledger")


@pytest.mark.parametrize("mode", ["reads", "writes"])
def test_a_handler_that_forks_ends_and_its_child_is_told(tmp_path: Path, mode: str) -> None:
    run(FORKS, f"sqlite:///{tmp_path}/ledger.db", mode)


@pytest.mark.middle
def test_two_threads_that_fork_at_once(tmp_path: Path) -> None:
    run(TWO_FORK, f"sqlite:///{tmp_path}/a.db", f"sqlite:///{tmp_path}/b.db")
