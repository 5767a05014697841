"""The mark against other processes, and a process that is killed amid the ends that follow it."""

from __future__ import annotations

import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from sessionledger import RowFilter, SessionStore, open_log
from sessionledger.store.engine import SESSIONS_TOPIC
from tests import reference_fold
from tests.logs.children import kill, running
from tests.store.facade import PERSISTENT, URLS

ROUNDS = 100
USING = """
import sys
from sessionledger import RotationLimitReached, SessionStore
store = SessionStore.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
token = store.create("alice").token
while True:
    store.touch(token)
    try:
        issued = store.rotate(token)
    except RotationLimitReached:
        token = store.create("alice").token
        continue
    assert issued is None or store.get(token) is not None or store.get(issued.token) is None
    if issued is None:
        assert store.get(token) is None
        issued = store.create("alice")
    token = issued.token
"""
SWEEPING = """
import sys
from sessionledger import SessionStore
store = SessionStore.open(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
while store.sweep(limit=3):
    print("swept", flush=True)
print("done", flush=True)
"""


def begin(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    child.stdin.write("\n")
    child.stdin.flush()


@pytest.mark.middle
@pytest.mark.parametrize("backend", PERSISTENT)
def test_nothing_that_began_before_a_mark_lives_after_it(tmp_path: Path, backend: str) -> None:
    url = URLS[backend](tmp_path / "raced")
    with ExitStack() as stack:
        log = open_log(url)
        stack.callback(log.close)
        store = stack.enter_context(SessionStore(log))
        children = [stack.enter_context(running(USING, url)) for _ in range(2)]
        for child in children:
            begin(child)
        number = 0
        while number < ROUNDS or not touched(store):
            number += 1
            mark = store.revoke_everybody().event_id
            rows = log.rows(SESSIONS_TOPIC, RowFilter(live_at=0))
            assert all(row.created > mark for row in rows)
            if number % 10 == 0:
                store.sweep()
        assert all(child.poll() is None for child in children)
        kill(url, *children)
        _no_successor_outlived(store)
        store.revoke_everybody()
        store.sweep()
        assert all(one["expired"] for one in _by_reference(store).values())
        assert store.diagnose() == []


def touched(store: SessionStore) -> bool:
    return any(event.kind == "session_touched" for event in store.events())


def _no_successor_outlived(store: SessionStore) -> None:
    """No rotation that was decided before a mark was written after it."""
    mark, families = 0, dict[str, int]()
    for event in store.events():
        if event.kind == "everybody_revoked":
            mark = event.id
        elif event.kind == "session_created":
            record = event.value["record"]
            family = record.get("family")
            assert family is None or families[family] >= mark
            families.setdefault(family or record["token_handle"], event.id)


def _by_reference(store: SessionStore) -> dict[str, dict[str, object]]:
    return reference_fold.fold([(event.kind, event.value) for event in store.events()]).sessions


@pytest.mark.parametrize("lines", [0, 1, 4])
@pytest.mark.parametrize("backend", PERSISTENT)
def test_ends_go_on_after_a_process_was_killed_amid_them(
    tmp_path: Path, backend: str, lines: int
) -> None:
    url = URLS[backend](tmp_path / "killed")
    with SessionStore.open(url) as store:
        for _ in range(20):
            store.create("alice")
        store.revoke_everybody()
    with running(SWEEPING, url) as child:
        begin(child)
        assert child.stdout is not None
        for _ in range(lines):
            child.stdout.readline()
        kill(url, child)
    with SessionStore.open(url) as store:
        assert store.count() == 0
        assert store.diagnose() == []
        store.sweep()
        kinds = [event.kind for event in store.events()]
        assert kinds.count("session_expired") == 20
        assert kinds.count("everybody_ended") == 1
        assert all(one["expired"] for one in _by_reference(store).values())
        assert store.diagnose() == []
