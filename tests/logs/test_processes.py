"""Several processes on one ledger: ours, and one that is killed."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator

import pytest

from sessionledger import DuplicateSession, SessionStore
from tests.logs.children import ask, finish, run, running, start

WRITERS = 4
CREATES = 50
REVOCATIONS = 50
SECRET = "a token that is long enough to be one: {}"


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    with SessionStore.open(url) as store:
        yield store


CREATOR = """
import sys
from sessionledger import SessionStore
_, url, name, count = sys.argv
with SessionStore.open(url) as store:
    sys.stdin.readline()
    for _ in range(int(count)):
        print(store.create(name).token, flush=True)
"""


def test_all_that_several_processes_wrote_is_there(store: SessionStore, url: str) -> None:
    writers = [start(CREATOR, url, f"writer{n}", CREATES) for n in range(WRITERS)]
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    tokens = [token for writer in writers for token in finish(writer).split()]
    assert len(set(tokens)) == WRITERS * CREATES
    assert all(store.get(token) for token in tokens)
    assert store.count() == len(tokens)
    assert [store.count(principal=f"writer{n}") for n in range(WRITERS)] == [CREATES] * WRITERS
    assert store.verify().ok
    assert [event.id for event in store.events()] == list(range(1, len(tokens) + 1))


def test_a_token_is_given_once_among_processes(store: SessionStore, url: str) -> None:
    script = """
import sys
from sessionledger import DuplicateSession, SessionStore
_, url, secret = sys.argv
won = 0
with SessionStore.open(url) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(50):
        try:
            store.create("alice", token=secret.format(n))
            won += 1
        except DuplicateSession:
            pass
print(won)
"""
    rivals = [start(script, url, SECRET) for _ in range(3)]
    won = sum(int(finish(rival).split()[-1]) for rival in rivals)
    assert won == 50
    assert store.count() == 50
    with pytest.raises(DuplicateSession):
        store.create("alice", token=SECRET.format(0))


def acknowledged_before_killed(writer: subprocess.Popen[str], after: int) -> list[str]:
    """The tokens that a writer had printed when it was killed, which is not before so many."""
    assert writer.stdin is not None
    assert writer.stdout is not None
    writer.stdin.write("go\n")
    writer.stdin.flush()
    tokens = [writer.stdout.readline() for _ in range(after)]
    writer.send_signal(signal.SIGKILL)
    tokens += writer.stdout.readlines()
    assert writer.wait() == -signal.SIGKILL
    return [token.strip() for token in tokens if token.endswith("\n")]


def test_a_killed_writer_loses_nothing_it_acknowledged(store: SessionStore, url: str) -> None:
    tokens: list[str] = []
    for round in range(5):
        with running(CREATOR, url, f"round{round}", 1_000_000) as writer:
            tokens += acknowledged_before_killed(writer, 7 * round + 1)
        tokens.append(store.create("survivor").token)
        with SessionStore.open(url) as again:
            assert all(again.get(token) for token in tokens)
            # One more per round may be written and not yet acknowledged.
            assert len(tokens) <= again.count() <= len(tokens) + round + 1
            assert again.verify().ok
    assert all(store.get(token) for token in tokens)


def test_an_only_writer_that_is_killed_leaves_a_ledger(url: str) -> None:
    tokens: list[str] = []
    for round in range(3):
        with running(CREATOR, url, "alice", 1_000_000) as writer:
            tokens += acknowledged_before_killed(writer, 11 * round + 1)
    with SessionStore.open(url) as store:
        assert all(store.get(token) for token in tokens)
        assert store.verify().ok


# Answers, for each token it is told: was it live, is it once revoked, and a token of its own.
PONG = """
import sys
from sessionledger import SessionStore
with SessionStore.open(sys.argv[1]) as store:
    for line in sys.stdin:
        live, revoked = line.split()
        answers = [store.get(live) is not None, store.get(revoked) is not None]
        store.expire(live)
        answers.append(store.get(live) is not None)
        print(*map(int, answers), store.create("pong").token, flush=True)
"""


def test_the_next_read_anywhere_sees_a_revocation(store: SessionStore, url: str) -> None:
    with running(PONG, url) as pong:
        revoked = store.create("ping").token
        store.expire(revoked)
        for _ in range(REVOCATIONS):
            token = store.create("ping").token
            assert store.get(token) is not None
            before, gone, after, theirs = ask(pong, f"{token} {revoked}").split()
            assert (before, gone, after) == ("1", "0", "0")
            assert store.get(token) is None
            assert store.get(theirs) is not None
            store.expire(theirs)
            revoked = theirs
    assert store.count() == 0
    assert store.verify().ok


def test_a_process_that_only_starts_sees_it_too(store: SessionStore, url: str) -> None:
    token = store.create("alice").token
    script = "import sys\nfrom sessionledger import SessionStore\n"
    script += "with SessionStore.open(sys.argv[1]) as store:\n"
    script += "    print(store.get(sys.argv[2]) is not None)\n"
    assert run(script, url, token) == "True\n"
    store.expire(token)
    assert run(script, url, token) == "False\n"
