"""A process that is killed amid its writes leaves all of a unit, or nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests.logs.children import kill, running
from tests.store.conftest import OTHER
from tests.store.facade import PERSISTENT, URLS
from tests.store.test_store import some

ROTATING = """
import sys
from sessionledger import SessionStore

token = sys.stdin.readline().strip()
store = SessionStore.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while True:
    issued = store.rotate(token)
    print(token, issued.token, flush=True)
    token = issued.token
"""


@pytest.mark.parametrize("lines", [1, 2, 3, 7])
@pytest.mark.parametrize("backend", PERSISTENT)
def test_a_rotation_that_is_killed_happened_or_did_not(
    tmp_path: Path, backend: str, lines: int
) -> None:
    url = URLS[backend](tmp_path / "killed")
    with SessionStore.open(url) as store:
        store.create("bob", token=OTHER, ttl=timedelta(hours=1))
    token = OTHER
    with running(ROTATING, url) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(OTHER + "\n")
        child.stdin.flush()
        child.stdout.readline()
        child.stdin.write("\n")
        child.stdin.flush()
        for _ in range(lines):
            token = child.stdout.readline().split()[1]
        kill(url, child)
        told = child.stdout.read().split("\n")[:-1]
    token = told[-1].split()[1] if told else token
    with SessionStore.open(url) as store:
        # What was acknowledged is there, and of what was not there is all or nothing.
        newest = some(store.get(token))
        known = list(store.sessions(principal="bob", state="all", superseded=True))
        leaves = [one for one in known if not one.successors]
        assert len(leaves) == 1
        assert leaves[0].handle in (newest.handle, *newest.successors)
        handles = {one.handle for one in known}
        assert all(successor in handles for one in known for successor in one.successors)
        assert sum(len(one.successors) for one in known) == len(known) - 1
        assert store.head().id == 1 + 2 * (len(known) - 1)
        assert store.verify().ok
