"""Several processes that maintain one ledger: one does it, and none is in another's way."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionledger import SessionStore, open_log
from sessionledger.store.audit.reports import LAST_RUNS
from sessionledger.testing.fixtures import until
from tests.logs.children import finish, run, running, start
from tests.logs.openers import address

DAY = timedelta(days=1)
RETENTION = 2 * DAY
EVENTS = 1200
PLACES = ["sqlite", "file", "postgresql"]

RUNNING = """
import sys, threading
from datetime import timedelta
from sessionledger import SessionStore

stop, errors = threading.Event(), []
with SessionStore.open(sys.argv[1], on_error=errors.append) as store:
    told = {"retention": timedelta(days=2), "stop": stop}
    thread = threading.Thread(
        target=store.run_maintenance, args=(timedelta(milliseconds=1),), kwargs=told
    )
    thread.start()
    print("ready", flush=True)
    sys.stdin.readline()
    assert thread.is_alive()
    stop.set()
    thread.join()
assert not errors, errors
"""

HALTING = """
import sys
from datetime import timedelta
from sessionledger import open_log, SessionStore
from sessionledger.logs.adapters.immediate import drive
from sessionledger.store.maintenance import Maintenance

all = steps = int(sys.argv[2])

def halt():
    global steps
    steps -= 1
    if steps == 0:
        print("half-way", flush=True)
        sys.stdin.readline()
    return False

log = open_log(sys.argv[1])
store = SessionStore(log)
drive(Maintenance(store._engine, log, timedelta(days=2), None, halt).maintain())
print(all - steps, flush=True)
"""


def filled(backend: str, path: Path) -> str:
    """A ledger with a session that is live, and one that ended, and many old events."""
    url = address(backend, path)
    then = datetime.now(UTC) - 5 * DAY
    with SessionStore.open(url, clock=lambda: then, durability="normal") as store:
        store.create("alice", ttl=90 * DAY)
        ended = store.create("bob", ttl=90 * DAY)
        for number in range(EVENTS):
            store.touch(ended.token, attributes={"number": number})
        store.expire(ended.token)
    return url


@pytest.mark.middle
@pytest.mark.parametrize("backend", PLACES)
def test_of_two_processes_one_maintains_and_both_go_on(tmp_path: Path, backend: str) -> None:
    url = filled(backend, tmp_path / "ledger")
    children = [start(RUNNING, url) for _ in range(2)]
    with SessionStore.open(url) as store:
        until(lambda: store.stats().maintained is not None)
        first = store.stats().maintained
        assert first is not None
        # Either of them makes the next round.
        until(lambda: store.stats().maintained != first)
        for child in children:
            assert child.stdin is not None
            child.stdin.write("\n")
            child.stdin.flush()
        for child in children:
            finish(child)
        stats = store.stats()
        assert stats.maintained is not None
        assert stats.maintained.outcome == "succeeded"
        assert (stats.cut, stats.events) == (EVENTS + 3, 1)
        assert store.count() == 1
        assert store.verify().ok
        assert {found.code for found in store.diagnose()} <= {"maintenance_ran"}


@pytest.mark.middle
@pytest.mark.parametrize("backend", PLACES)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.7, 0.9])
def test_what_a_process_left_that_was_killed_another_one_finishes(
    tmp_path: Path, backend: str, share: float
) -> None:
    steps = int(run(HALTING, filled(backend, tmp_path / "counted"), 10**6))
    url = filled(backend, tmp_path / "ledger")
    with running(HALTING, url, round(steps * share)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "half-way\n"
        with SessionStore.open(url) as store:
            assert store.maintain(retention=RETENTION) is None
            child.send_signal(signal.SIGKILL)
            child.wait()
            # PostgreSQL's server notices a moment later that a client is gone.
            until(lambda: store.maintain(retention=RETENTION) is not None)
            assert store.stats().cut == EVENTS + 3
            assert store.count() == 1
            assert store.verify().ok
            assert {found.code for found in store.diagnose()} <= {"maintenance_ran"}


def test_the_last_round_is_a_cursor_of_a_topic_without_events(tmp_path: Path) -> None:
    url = address("sqlite", tmp_path / "ledger")
    with SessionStore.open(url) as store:
        store.maintain()
    log = open_log(url)
    assert LAST_RUNS not in log.topics()
    assert log.cursor(LAST_RUNS, "succeeded") > 0
    log.close()
