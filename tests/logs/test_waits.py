"""Every wait has a bound: others hold the ledger, and each call ends in time and says who."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from sessionledger import AsyncSessionStore, InvalidPolicy, LogTimeout, SessionStore, open_log
from sessionledger.testing.fixtures import PATIENCE, TOPIC, concurrently, event, until
from sessionledger.testing.forked_child import fork, reap
from tests import postgres_server
from tests.logs.children import running
from tests.logs.openers import ADDRESSES
from tests.logs.stopped_writer import stopped_writer

SHORT = timedelta(milliseconds=200)
TOKEN = "a token that is long enough, 00001"
# Has the lock file of a ledger, or with `database` a lock of SQLite's, until it is ended.
HOLDER = """
import fcntl, sqlite3, sys
if sys.argv[2] == "database":
    held = sqlite3.connect(sys.argv[1], isolation_level=None)
    held.execute("BEGIN IMMEDIATE")
else:
    held = open(sys.argv[1])
    fcntl.flock(held, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture(params=["sqlite", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return ADDRESSES[request.param].format(tmp_path / "ledger")


def lock_file(tmp_path: Path, url: str) -> Path:
    return tmp_path / ("ledger-lock" if url.startswith("sqlite") else "ledger/ledger.lock")


def test_a_writer_that_stands_still_is_waited_for_in_vain_and_named(url: str) -> None:
    with SessionStore.open(url, timeout=SHORT) as store:
        victim = store.create("victim")
        with stopped_writer(url) as other:
            assert store.get(victim.token) is not None
            for call in (
                lambda: store.revoke(handle=victim.handle),
                lambda: store.create("late", token=TOKEN),
                lambda: store.revoke_all(principal="victim"),
            ):
                with pytest.raises(LogTimeout, match=f"process {other.pid} .*stopped.*nothing was"):
                    call()
            token = other.resume()
        assert principals(store) == ["stopped", "victim"]
        assert store.get(token) is not None
        assert store.revoke(handle=victim.handle) is not None
        assert store.create("late", token=TOKEN).principal == "late"
        assert store.verify().ok


def test_opening_waits_no_longer_either(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger?timeout=200ms"
    SessionStore.open(url).close()
    with stopped_writer(url.partition("?")[0]) as other:
        with pytest.raises(LogTimeout, match=f"process {other.pid} "):
            SessionStore.open(url)
        other.resume()
    with SessionStore.open(url) as store:
        assert store.count() == 1


@pytest.mark.parametrize("colour", ["sync", "async"])
def test_all_that_wait_at_the_same_time_are_told_and_nothing_of_them_is_written(
    url: str, colour: str
) -> None:
    def by_threads() -> tuple[int, list[object]]:
        with SessionStore.open(url, timeout=SHORT) as store, stopped_writer(url) as other:
            calls = [lambda: failing(lambda: store.create("late"))] * 8
            return other.pid, concurrently(*calls)

    async def by_tasks() -> tuple[int, list[object]]:
        async with AsyncSessionStore.open(url, timeout=SHORT) as store:
            with stopped_writer(url) as other:
                creates = (store.create("late") for _ in range(8))
                return other.pid, await asyncio.gather(*creates, return_exceptions=True)

    pid, answers = by_threads() if colour == "sync" else asyncio.run(by_tasks())
    assert {type(answer) for answer in answers} == {LogTimeout}
    assert all(f"process {pid} " in str(answer) for answer in answers)
    with SessionStore.open(url) as store:
        assert "late" not in principals(store)
        assert store.verify().ok


def principals(store: SessionStore) -> list[str]:
    return sorted(one.principal for one in store.sessions())


def failing(call: Callable[[], object]) -> object:
    """What a call raised, or else what it answered."""
    try:
        return call()
    except LogTimeout as error:
        return error


def test_a_wait_that_was_given_up_keeps_no_turn_and_no_second_thread(url: str) -> None:
    before = len(os.listdir("/proc/self/task"))
    with SessionStore.open(url, timeout=SHORT) as store:
        with stopped_writer(url) as other:
            for _ in range(5):
                with pytest.raises(LogTimeout):
                    store.create("late")
            assert len(os.listdir("/proc/self/task")) <= before + 1
            other.resume()
        with SessionStore.open(url, timeout=SHORT) as another:
            another.create("next")
        store.create("last")
        assert store.count() == 3
    until(lambda: len(os.listdir("/proc/self/task")) <= before)


def test_a_fork_is_not_held_up_and_its_child_goes_on(url: str) -> None:
    with SessionStore.open(url, timeout=SHORT) as store:
        store.create("first")
        with stopped_writer(url) as other:
            with pytest.raises(LogTimeout):
                store.create("late")

            def child() -> None:
                with pytest.raises(LogTimeout, match=f"process {other.pid} "):
                    store.create("late")

            assert reap(fork(child)) == 0
            other.resume()
        assert reap(fork(lambda: store.create("child"))) == 0
        assert principals(store) == ["child", "first", "stopped"]


def test_a_child_keeps_no_turn_that_its_parent_waited_for(url: str) -> None:
    """The child has a copy of the descriptor on which the parent's thread still waits."""
    done, told = os.pipe()
    with SessionStore.open(url, timeout=SHORT) as store:
        with stopped_writer(url) as other:
            with pytest.raises(LogTimeout):
                store.create("late")
            pid = fork(lambda: os.read(done, 1))
            other.resume()
        store.create("parent")
        with SessionStore.open(url, timeout=SHORT) as another:
            another.create("another")
        os.write(told, b"1")
        assert reap(pid) == 0
    os.close(done)
    os.close(told)


def test_a_lock_of_another_program_is_waited_for_as_long(tmp_path: Path) -> None:
    with SessionStore.open(f"sqlite:///{tmp_path}/ledger", timeout=SHORT) as store:
        store.create("first")
        with running(HOLDER, tmp_path / "ledger", "database") as holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            with pytest.raises(LogTimeout, match=f"process {holder.pid} .python"):
                store.create("late")
            holder.communicate("\n", PATIENCE)
        store.create("next")
        assert store.count() == 2


def test_a_read_that_must_write_first_leaves_the_loop_free(tmp_path: Path, url: str) -> None:
    """The reference appended, so rows are to be folded, and nobody lets us."""
    from tests.logs.conftest import LOGS

    append_bare = LOGS["sqlite" if url.startswith("sqlite") else "file"].append_bare
    assert append_bare is not None
    with SessionStore.open(url) as store:
        token = store.create("first").token

    async def read(turns: list[int]) -> list[Any]:
        async with AsyncSessionStore.open(url, timeout=SHORT) as store:
            append_bare(tmp_path / "ledger", "orchestrator.sessions", [event()])
            with running(HOLDER, lock_file(tmp_path, url), "file") as holder:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "held\n"
                reads = (store.get(token), store.authenticate(token), store.count())
                waiting = asyncio.gather(*reads, return_exceptions=True)
                while not waiting.done():
                    turns.append(1)
                    await asyncio.sleep(0.001)
                holder.communicate("\n", PATIENCE)
            assert await store.get(token) is not None
            return list(await waiting)

    turns: list[int] = []
    answers = asyncio.run(read(turns))
    assert [type(answer) for answer in answers] == [LogTimeout] * 3
    assert len(turns) > 10


def test_a_line_that_another_connection_has_is_waited_for_as_long(tmp_path: Path) -> None:
    url = postgres_server.address(tmp_path)
    with SessionStore.open(f"{url}&timeout=2s") as store:
        session = store.create("first")
        with psycopg.connect(postgres_server.server()) as other:
            heads = f'"{postgres_server.schema(tmp_path)}".topic_heads'
            other.execute(f"SELECT * FROM {heads} FOR UPDATE".encode())
            assert store.get(session.token) is not None
            with pytest.raises(LogTimeout, match="another connection is still writing"):
                store.revoke(handle=session.handle)
        assert store.revoke(handle=session.handle) is not None


def test_a_log_in_memory_is_waited_for_as_long() -> None:
    log = open_log("memory:?timeout=50ms")
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with log._lock:  # type: ignore[attr-defined]
            entered.set()
            leave.wait(PATIENCE)

    holder = threading.Thread(target=hold)
    holder.start()
    assert entered.wait(PATIENCE)
    with pytest.raises(LogTimeout, match="another thread"):
        log.latest(TOPIC)
    leave.set()
    holder.join()
    assert log.latest(TOPIC) == 0


@pytest.mark.parametrize("given", [timedelta(0), timedelta(seconds=-1), timedelta(days=2)])
def test_a_timeout_that_can_not_be_is_refused(given: timedelta) -> None:
    async def enter() -> None:
        async with AsyncSessionStore.open("memory:", timeout=given):
            pass

    with pytest.raises(InvalidPolicy, match="timeout must be 1 ms to a day, got"):
        SessionStore.open("memory:", timeout=given)
    with pytest.raises(InvalidPolicy, match="timeout must be"):
        asyncio.run(enter())
