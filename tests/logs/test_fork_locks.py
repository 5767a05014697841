"""A fork takes no lock from anybody: what is acknowledged afterwards, other processes see."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from sessionledger import SessionStore
from sessionledger.testing.forked_child import fork, reap
from tests.logs.children import ask, run, running

CREATES = 5

# What a process that has nothing to do with the others sees: the principals, and what of a token.
THIRD = """
import sys
from sessionledger import SessionStore
with SessionStore.open(sys.argv[1]) as store:
    assert store.verify().ok
    live = any(store.get(token) for token in sys.argv[2:])
    sessions = sorted(session.principal for session in store.sessions(state="all"))
    store.create("third")
print(*sessions, live)
"""

# Becomes a daemon: forks twice, the parents exit at once, and the grandchild serves.
DAEMON = """
import os, sys, threading
from sessionledger import SessionStore
store = SessionStore.open(sys.argv[1])
victim = store.create("victim")
if sys.argv[2] == "used":
    store.get(victim.token), store.count()
parent = os.getpid()
for _ in range(2):
    if os.fork():
        sys.exit() if sys.argv[3] == "orderly" else os._exit(0)
    os.setsid() if os.getsid(0) != os.getpid() else None
    while os.getppid() == parent:
        threading.Event().wait(0.001)
    parent = os.getpid()
assert store.get(victim.token) is not None
for _ in range(5):
    store.create("daemon")
print(victim.token, flush=True)
sys.stdin.readline()
assert store.revoke(handle=victim.handle) is not None
assert store.get(victim.token) is None
store.create("daemon")
print("revoked", flush=True)
sys.stdin.readline()
print(store.count(state="all"), flush=True)
sys.stdin.readline()
"""


class Signal:
    """Something that one process says once and another one waits for."""

    def __init__(self, opened: ExitStack) -> None:
        self._out, self._in = os.pipe()
        opened.callback(os.close, self._out)
        opened.callback(os.close, self._in)

    def give(self) -> None:
        os.write(self._in, b"1")

    def wait(self) -> None:
        assert os.read(self._out, 1)


def nothing(store: SessionStore) -> None: ...


@pytest.mark.parametrize(
    ("use", "early"),
    [
        pytest.param(nothing, True, id="idle-child-first"),
        pytest.param(SessionStore.count, False, id="reading-parent-first"),
        pytest.param(nothing, False, id="idle-parent-first", marks=pytest.mark.slow),
        pytest.param(SessionStore.count, True, id="reading-child-first", marks=pytest.mark.slow),
    ],
)
def test_what_a_child_creates_after_its_parent_closed(
    url: str, use: Callable[[SessionStore], object], early: bool
) -> None:
    store = SessionStore.open(url)
    store.create("parent")
    use(store)
    with ExitStack() as opened:
        began, closed, created, seen = (Signal(opened) for _ in range(4))

        def serve() -> None:
            try:
                if early:
                    assert store.get(store.create("child").token) is not None
                began.give()
                closed.wait()
                tokens = [store.create("child").token for _ in range(CREATES)]
                assert all(store.get(token) for token in tokens)
            finally:
                began.give()
                created.give()
            seen.wait()
            assert store.count(state="all") == 1 + early + CREATES + 1

        pid = fork(serve)
        began.wait()
        store.close()
        closed.give()
        created.wait()
        assert run(THIRD, url).split() == ["child"] * (early + CREATES) + ["parent", "False"]
        seen.give()
        assert reap(pid) == 0
    assert run(THIRD, url).split().count("third") == 1


@pytest.mark.parametrize(
    ("parent", "exits"),
    [
        ("used", "orderly"),
        ("idle", "abrupt"),
        pytest.param("used", "abrupt", marks=pytest.mark.slow),
        pytest.param("idle", "orderly", marks=pytest.mark.slow),
    ],
)
def test_a_daemon_whose_parents_exited(url: str, parent: str, exits: str) -> None:
    with running(DAEMON, url, parent, exits) as daemon:
        assert daemon.stdout is not None
        token = daemon.stdout.readline().strip()
        assert token, daemon.stderr and daemon.stderr.read()
        assert run(THIRD, url, token).split() == [*["daemon"] * 5, "victim", "True"]
        assert ask(daemon, "revoke") == "revoked"
        sessions = [*["daemon"] * 6, "third", "victim"]
        assert run(THIRD, url, token).split() == [*sessions, "False"]
        assert ask(daemon, "count") == str(len(sessions) + 1)
