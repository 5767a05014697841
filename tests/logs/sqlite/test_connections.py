"""Connections and file descriptors: opened when needed, never lost, never used once closed."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sessionledger import Log, LogUnavailable, NotALedger, SessionStore, StoreClosed
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.testing.fixtures import FOLD, PATIENCE, TOPIC, add, concurrently, creation, event

DESCRIPTORS = Path("/proc/self/fd")

counts_descriptors = pytest.mark.skipif(not DESCRIPTORS.exists(), reason="there is no /proc")


def descriptors_on(path: Path) -> int:
    """How many of this process's descriptors are open on a ledger's files."""
    found = 0
    for one in DESCRIPTORS.iterdir():
        # The descriptor that lists the folder is gone by now.
        with suppress(FileNotFoundError):
            found += os.readlink(one).startswith(str(path))
    return found


@pytest.fixture
def log(tmp_path: Path) -> Iterator[SQLiteLog]:
    log = SQLiteLog(tmp_path / "ledger")
    log.fold_with(TOPIC, FOLD)
    yield log
    log.close()


def in_a_thread(job: Callable[[], object]) -> None:
    thread = threading.Thread(target=job)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()


@counts_descriptors
def test_threads_that_ended_leave_no_connections(log: SQLiteLog) -> None:
    add(log, [event(b"k")])
    log.row(TOPIC, b"k")
    before = descriptors_on(log.path)
    for _ in range(50):
        in_a_thread(lambda: log.row(TOPIC, b"k"))
    # Each connection has the file and its -wal; those of one ended thread may wait for the next.
    assert descriptors_on(log.path) <= before + 4


@counts_descriptors
def test_threads_that_read_at_the_same_time_are_forgotten_too(log: SQLiteLog) -> None:
    add(log, [event(b"k")])
    before = descriptors_on(log.path)
    for _ in range(5):
        concurrently(*[lambda: log.row(TOPIC, b"k")] * 20)
    in_a_thread(lambda: log.row(TOPIC, b"k"))
    # SQLite keeps the descriptors of closed connections for the next ones, as many as there were
    # at a time: closing one would drop the locks of all.
    assert descriptors_on(log.path) <= before + 2 * 20 + 4


@counts_descriptors
def test_opening_and_closing_loses_no_descriptor(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    for _ in range(100):
        with SessionStore.open(f"sqlite:///{path}") as store:
            store.get(store.create("alice").token)
            assert descriptors_on(path) > 0
        assert descriptors_on(path) == 0


@counts_descriptors
def test_several_ledgers_on_one_file_close_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    first, second = SQLiteLog(path), SQLiteLog(path)
    add(first, [event()])
    assert second.latest(TOPIC) == 1
    first.close()
    assert add(second, [event()]) == (2,)
    assert second.latest(TOPIC) == 2
    second.close()
    assert descriptors_on(path) == 0


@counts_descriptors
def test_a_file_that_was_refused_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "diary"
    path.write_bytes(b"dear diary, " * 500)
    for _ in range(5):
        with suppress(NotALedger):
            SQLiteLog(path)
    assert descriptors_on(path) == 0


def test_closing_leaves_only_the_ledger_and_its_lock(log: SQLiteLog) -> None:
    add(log, [event(b"k")])
    concurrently(*[lambda: log.row(TOPIC, b"k")] * 4)
    log.close()
    assert {one.name for one in log.path.parent.iterdir()} == {"ledger", "ledger-lock"}


READS: dict[str, Callable[[Log], object]] = {
    "read": lambda log: log.read(TOPIC),
    "read_key": lambda log: log.read_key(TOPIC, b"k"),
    "latest": lambda log: log.latest(TOPIC),
    "wait": lambda log: log.wait(TOPIC, 99, timeout=0.001),
    "row": lambda log: log.row(TOPIC, b"k"),
    "state": lambda log: log.state(TOPIC, b"k"),
    "rows": lambda log: log.rows(TOPIC),
    "count": lambda log: log.count(TOPIC),
    "cursor": lambda log: log.cursor(TOPIC, "consumer"),
    "topics": lambda log: log.topics(),
}
WRITES: dict[str, Callable[[Log], object]] = {
    "append": lambda log: log.append(TOPIC, [creation(os.urandom(8))]),
    "rebuild": lambda log: log.rebuild(TOPIC),
    "ack": lambda log: log.ack(TOPIC, "consumer", 1),
    "flush": lambda log: log.flush(),
}
CALLS = READS | WRITES | {"describe": lambda log: log.describe()}


@pytest.mark.parametrize("name", CALLS)
def test_every_method_is_refused_after_close(log: SQLiteLog, name: str) -> None:
    add(log, [event(b"k")])
    CALLS[name](log)
    log.close()
    log.close()
    with pytest.raises(StoreClosed, match="ledger is closed"):
        CALLS[name](log)


@pytest.mark.parametrize("name", CALLS)
def test_so_is_it_in_a_thread_that_never_used_it(log: SQLiteLog, name: str) -> None:
    add(log, [event(b"k")])
    log.close()
    errors: list[BaseException] = []

    def call() -> None:
        try:
            CALLS[name](log)
        except BaseException as error:
            errors.append(error)

    in_a_thread(call)
    assert [type(error) for error in errors] == [StoreClosed]


@pytest.mark.parametrize("calls", [READS, WRITES], ids=["reads", "writes"])
def test_a_close_amid_others_lets_each_answer_or_refuses(
    tmp_path: Path, calls: dict[str, Callable[[Log], object]]
) -> None:
    for round in range(4):
        log = SQLiteLog(tmp_path / f"ledger{round}")
        log.fold_with(TOPIC, FOLD)
        add(log, [event(b"k")])
        under_way = threading.Semaphore(0)

        def repeat(
            call: Callable[[Log], object], log: Log = log, signal: threading.Semaphore = under_way
        ) -> str:
            call(log)
            signal.release()
            try:
                while True:
                    call(log)
            except StoreClosed:
                return "refused"

        def close(log: Log = log, signal: threading.Semaphore = under_way) -> str:
            for _ in calls:
                signal.acquire(timeout=PATIENCE)
            log.close()
            return "refused"

        jobs = [*(lambda call=call: repeat(call) for call in calls.values()), close]
        assert set(concurrently(*jobs)) == {"refused"}


def test_a_reader_in_a_snapshot_is_waited_for(log: SQLiteLog) -> None:
    """A count that is under way when the ledger closes answers, or says that it is closed."""
    log.append(TOPIC, [creation(n.to_bytes(4)) for n in range(5000)])

    def count() -> int:
        with suppress(StoreClosed):
            return log.count(TOPIC)
        return 5000

    def close() -> int:
        log.close()
        return 5000

    assert concurrently(count, count, close, count) == [5000] * 4


def test_a_handler_of_the_thread_that_closes_the_gate_is_refused(log: SQLiteLog) -> None:
    log._readers.hold(until=float("inf"))
    try:
        with pytest.raises(LogUnavailable, match="signal handler"):
            log.count(TOPIC)
    finally:
        log._readers.release()
    assert log.count(TOPIC) == 0
