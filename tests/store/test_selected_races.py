"""Ending what meets some criteria against other processes, and a process killed amid the ends."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest

from sessionledger import RowFilter, SessionStore, open_log
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.logs.base import OVER
from sessionledger.store.engine import SESSIONS_TOPIC
from tests import reference_fold
from tests.logs.children import kill, running
from tests.store.facade import PERSISTENT, URLS
from tests.store.test_everybody_races import begin

ROUNDS = 30
ROTATING = """
import sys
from sessionledger import Policy, SessionStore
store = SessionStore.open(sys.argv[1], policy=Policy(max_rotations_per_minute=10**6))
print("ready", flush=True)
sys.stdin.readline()
issued = None
while True:
    issued = issued or store.create(sys.argv[2], attributes={"keep": False})
    issued = store.rotate(issued.token)
"""
REVOKING = """
import sys
from sessionledger import SessionStore
from sessionledger.store.operations import selected
selected.OWNERS = 3
store = SessionStore.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
store.revoke_where(attributes={"keep": False}, progress=lambda ended: print(ended, flush=True))
"""


@pytest.mark.middle
@pytest.mark.parametrize("backend", PERSISTENT)
def test_no_selected_login_that_began_before_a_call_lives_after_it(
    tmp_path: Path, backend: str
) -> None:
    url = URLS[backend](tmp_path / "raced")
    with ExitStack() as stack:
        log = open_log(url)
        stack.callback(log.close)
        store = stack.enter_context(SessionStore(log))
        kept = [store.create(f"p{number}", attributes={"keep": True}) for number in range(100)]
        children = [stack.enter_context(running(ROTATING, url, name)) for name in ("a", "b", "c")]
        for child in children:
            begin(child)
        ended = rounds = 0
        while rounds < ROUNDS or not ended:
            rounds += 1
            before = log.latest(SESSIONS_TOPIC)
            ended += store.revoke_where(attributes={"keep": False})
            for name in ("a", "b", "c"):
                for row in log.rows(SESSIONS_TOPIC, RowFilter(owner=name, live_at=OVER)):
                    first = log.row(SESSIONS_TOPIC, parse_handle(row.group or handle_of(row.key)))
                    assert first is not None
                    assert first.created > before, "a successor outlived the call"
        assert all(child.poll() is None for child in children)
        kill(url, *children)
        store.revoke_where(attributes={"keep": False})
        assert {one.handle for one in store.sessions()} == {one.handle for one in kept}
        assert store.diagnose() == []


@pytest.mark.parametrize("lines", [0, 1, 4])
@pytest.mark.parametrize("backend", PERSISTENT)
def test_the_same_call_goes_on_after_a_process_was_killed_amid_it(
    tmp_path: Path, backend: str, lines: int
) -> None:
    url = URLS[backend](tmp_path / "killed")
    with SessionStore.open(url) as store:
        kept = store.create("kept", attributes={"keep": True}).handle
        for number in range(30):
            store.create(f"p{number}", attributes={"keep": False})
    with running(REVOKING, url) as child:
        begin(child)
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        kill(url, child)
    with SessionStore.open(url) as store:
        left = store.count() - 1
        if lines:
            assert "selection_revoked" in [event.kind for event in store.events()]
            assert left <= 30 - 3 * lines
        assert store.revoke_where(attributes={"keep": False}) == left
        assert [one.handle for one in store.sessions()] == [kept]
        events = [(event.kind, event.value) for event in store.events()]
        ends = Counter(value["token_handle"] for kind, value in events if kind == "session_expired")
        assert len(ends) == ends.total() == 30
        by_reference = reference_fold.fold(events).sessions.values()
        assert Counter(one["expired"] for one in by_reference) == {True: 30, False: 1}
        assert store.diagnose() == []
