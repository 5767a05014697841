"""A disk that fails to flush: what it kept can't be known, so the log writes no more."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.logs.file import FileLog
from sessionledger.testing.fixtures import TOPIC, add, concurrently, event, every_event
from sessionledger.testing.forked_child import in_fork
from tests.logs import bare_file
from tests.logs.children import run
from tests.logs.file.disk_trace import Trace, recording
from tests.logs.file.locations import (
    durable_file,
    opened,
    sessions_file,
    store_on,
    topic_file,
)


class Disk:
    """A flush that fails while it is `broken`."""

    def __init__(self) -> None:
        self.broken = False
        self.refused = 0

    def __call__(self, file: int) -> None:
        if self.broken:
            self.refused += 1
            raise OSError(errno.EIO, "the disk does not answer")
        os.fdatasync(file)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def log(disk: Disk, root: Path) -> Iterator[FileLog]:
    log = FileLog(root, sync=disk)
    yield log
    log.close()


def refusal(append: Callable[[], object]) -> str:
    with pytest.raises(LogUnavailable) as caught:
        append()
    return str(caught.value)


def test_it_works_while_the_disk_does(log: FileLog, disk: Disk) -> None:
    store = SessionStore(log)
    assert store.get(store.create("alice").token) is not None
    assert disk.refused == 0


def test_an_append_that_was_not_flushed_fails_and_is_not_there(
    log: FileLog, disk: Disk, root: Path
) -> None:
    store = SessionStore(log)
    store.create("alice")
    text = sessions_file(root).read_bytes()
    disk.broken = True
    assert str(log.path) in refusal(lambda: store.create("alice"))
    assert disk.refused == 1
    assert store.count() == 1
    assert sessions_file(root).read_bytes() == text
    with store_on(root) as another:
        assert another.count() == 1


def test_afterwards_nothing_is_appended_though_the_disk_recovers(log: FileLog, disk: Disk) -> None:
    store = SessionStore(log)
    token = store.create("alice").token
    disk.broken = True
    refusal(lambda: store.create("alice"))
    disk.broken = False
    for append in (
        lambda: store.create("alice"),
        lambda: store.expire(token),
        lambda: log.ack("topic", "consumer", 1),
        store.rebuild,
        log.flush,
    ):
        assert "close the ledger and open it again" in refusal(append)
    assert store.get(token) is not None
    assert disk.refused == 1


def test_other_threads_are_refused_too(log: FileLog, disk: Disk) -> None:
    store = SessionStore(log)
    token = store.create("alice").token
    disk.broken = True
    said = concurrently(*[lambda: refusal(lambda: store.create("bob"))] * 4)
    disk.broken = False
    said += concurrently(*[lambda: refusal(lambda: store.create("bob"))] * 4)
    assert all(str(log.path) in one for one in said)
    assert all("open it again" in one for one in said[4:])
    assert concurrently(*[lambda: store.get(token)] * 4) == [store.get(token)] * 4


def test_reads_still_answer_and_see_other_processes(log: FileLog, disk: Disk, root: Path) -> None:
    store = SessionStore(log)
    issued = store.create("alice")
    disk.broken = True
    refusal(lambda: store.create("alice"))
    assert store.get(issued.token) is not None
    assert [one.handle for one in store.sessions(principal="alice")] == [issued.handle]
    assert len(list(store.history(handle=issued.handle))) == store.head().id == 1
    with store_on(root) as another:
        another.expire(issued.token)
    assert store.get(issued.token) is None


def test_what_it_can_t_make_durable_it_does_not_deny(log: FileLog, disk: Disk, root: Path) -> None:
    """The reference appended, perhaps the end of a session, and here nothing can be flushed."""
    add(log, [event(n=1)])
    disk.broken = True
    refusal(lambda: add(log, [event(n=2)]))
    bare_file.append(root, TOPIC, [event(n=3)] * 5)
    assert "open it again" in refusal(lambda: log.latest(TOPIC))
    with opened(root) as another:
        assert another.latest(TOPIC) == 6
    assert log.latest(TOPIC) == 6


def test_opened_again_it_works_and_the_chain_holds(log: FileLog, disk: Disk, root: Path) -> None:
    store = SessionStore(log)
    tokens = [store.create("alice").token for _ in range(3)]
    disk.broken = True
    refusal(lambda: store.create("alice"))
    log.close()
    with store_on(root) as again:
        tokens.append(again.create("bob").token)
        assert all(again.get(token) for token in tokens)
        assert again.verify().ok
        assert again.verify().events == 4


def test_a_cursor_that_was_not_flushed_is_not_taken(log: FileLog, disk: Disk) -> None:
    log.ack(TOPIC, "mailer", 3)
    disk.broken = True
    refusal(lambda: log.ack(TOPIC, "mailer", 5))
    assert log.cursor(TOPIC, "mailer") == 3


def test_a_fork_forgets_nothing_of_it(log: FileLog, disk: Disk) -> None:
    store = SessionStore(log)
    token = store.create("alice").token
    disk.broken = True
    refusal(lambda: store.create("alice"))
    disk.broken = False

    def refused() -> None:
        assert "open it again" in refusal(lambda: store.create("bob"))
        assert store.get(token) is not None

    in_fork(refused)
    refused()


def test_without_a_flush_there_is_none_to_fail(disk: Disk, root: Path) -> None:
    log = FileLog(root, sync=disk, durability="normal")
    disk.broken = True
    store = SessionStore(log)
    assert store.get(store.create("alice").token) is not None
    assert disk.refused == 0
    assert "does not answer" in refusal(log.flush)
    log.close()


# What fails at the wrong moment


@pytest.fixture
def trace(root: Path) -> Iterator[Trace]:
    with recording(root.parent) as trace:
        yield trace


def test_a_write_that_was_published_is_not_cut_off(root: Path, trace: Trace) -> None:
    """A signal handler may raise once the record is written, and readers go by that."""
    with opened(root) as log:
        add(log, [event(n=1)])
        publishes = iter([False, True])
        trace.fails = lambda what, path: (
            what == "after pwrite" and path.endswith(TOPIC) and next(publishes)
        )
        with pytest.raises(LogUnavailable):
            add(log, [event(n=2)])
        trace.fails = lambda what, path: False
        assert log.latest(TOPIC) == 2
    with opened(root) as another:
        assert another.latest(TOPIC) == 2
        assert add(another, [event()]) == (3,)


def test_a_write_that_was_withdrawn_claims_nothing(root: Path, trace: Trace) -> None:
    with opened(root) as log:
        add(log, [event(n=1)])
        before = durable_file(root).read_bytes()
        trace.fails = lambda what, path: what == "write" and path.endswith(".jsonl")
        with pytest.raises(LogUnavailable):
            add(log, [event(n=2)])
        assert durable_file(root).read_bytes() == before


def test_after_a_folder_could_not_be_flushed_nothing_is_appended(root: Path, trace: Trace) -> None:
    with opened(root) as log:
        trace.fails = lambda what, path: what == "fsync" and Path(path).is_dir()
        with pytest.raises(LogUnavailable):
            add(log, [event()])
        trace.fails = lambda what, path: False
        assert "open it again" in refusal(lambda: add(log, [event()]))
    with opened(root) as log:
        assert add(log, [event()]) == (1,)


def test_an_answer_stands_though_a_file_can_t_be_closed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def closed_with_an_error(file: int) -> None:
        name = os.readlink(f"/proc/self/fd/{file}")
        close(file)
        if name.endswith((".jsonl", TOPIC)) and broken:
            raise OSError(errno.EIO, "Input/output error")

    broken = False
    monkeypatch.setattr(os, "close", closed_with_an_error)
    with opened(root) as log:
        add(log, [event()])
        broken = True
        assert add(log, [event()]) == (2,)
        broken = False
        assert log.latest(TOPIC) == 2


# A file that may only be appended to can't be cut, not even by root.
HALF_A_WRITE = """
import resource, sys
from sessionledger import LogUnavailable
from sessionledger.testing.fixtures import TOPIC, add, event
from tests.logs.file.locations import opened, topic_file

root = sys.argv[1]
with opened(root) as log:
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, resource.RLIM_INFINITY))
    for _ in range(2):
        try:
            add(log, [event(b"k", note="x" * 5000)])
        except LogUnavailable as error:
            print(error)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert log.latest(TOPIC) == 1 and log.row(TOPIC, b"k") is None
"""


def test_half_a_write_that_can_t_be_cut_off_ends_writing(root: Path) -> None:
    with opened(root) as log:
        add(log, [event()])
    only_append = ["chattr", "+a", str(topic_file(root))]
    if subprocess.run(only_append, capture_output=True, check=False).returncode:
        pytest.skip("files that can only be appended to are not to be had here")
    try:
        first, second = run(HALF_A_WRITE, root).splitlines()
    finally:
        subprocess.run(["chattr", "-a", str(topic_file(root))], check=True)
    assert "raise the limit" in first
    assert "open it again" in second
    with opened(root) as log:
        assert len(every_event(log)) == 1
        assert add(log, [event()]) == (2,)
