"""A batch that is written and not yet acknowledged: nobody sees it, and nobody waits for it."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest

from sessionledger import StoredEvent
from sessionledger.logs.file import FileLog
from sessionledger.testing.fixtures import (
    FOLD,
    PATIENCE,
    TOPIC,
    add,
    concurrently,
    event,
    every_event,
)
from tests.logs import bare_file
from tests.logs.children import ask, finish, running
from tests.logs.file.locations import opened, topic_file

# Appends an event for each line that it is told; its flush waits for another line.
WRITER = """
import os, sys
from sessionledger.logs.file import FileLog
from sessionledger.testing.fixtures import FOLD, TOPIC, add, event

def sync(file):
    print("written", flush=True)
    assert sys.stdin.readline()
    os.fdatasync(file)

log = FileLog(sys.argv[1], sync=sync)
log.fold_with(TOPIC, FOLD)
for line in sys.stdin:
    print(*add(log, [event(b"k", n=int(line))], sys.argv[2]), flush=True)
"""


@pytest.fixture
def writer(log: FileLog, root: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has written event 2, which it has not flushed; event 1 is ours."""
    add(log, [event(b"k", n=1)])
    with running(WRITER, root, TOPIC) as writer:
        assert ask(writer, "2") == "written"
        yield writer


def numbers(log: FileLog) -> list[int]:
    return [one.value["n"] for one in every_event(log)]


def check_sees(log: FileLog, expected: list[int]) -> None:
    assert numbers(log) == expected
    assert log.latest(TOPIC) == len(expected)
    row, state = log.row(TOPIC, b"k"), log.state(TOPIC, b"k")
    assert row is not None
    assert state is not None
    assert row.version == state[0] == len(expected)
    assert len(log.read_key(TOPIC, b"k")) == len(expected)


def test_it_is_seen_once_it_is_acknowledged(
    log: FileLog, root: Path, writer: subprocess.Popen[str]
) -> None:
    assert topic_file(root).read_bytes().count(b"\n") == 2
    check_sees(log, [1])
    with opened(root) as another:
        check_sees(another, [1])
    assert log.topics() == [TOPIC]
    assert ask(writer, "flush") == "2"
    check_sees(log, [1, 2])
    with opened(root) as another:
        check_sees(another, [1, 2])


def test_of_a_writer_that_was_killed_what_is_whole_stays(
    log: FileLog, root: Path, writer: subprocess.Popen[str]
) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    check_sees(log, [1, 2])
    assert add(log, [event(b"k", n=3)]) == (3,)
    with opened(root) as another:
        check_sees(another, [1, 2, 3])


def test_of_a_writer_that_was_killed_what_is_torn_goes(
    log: FileLog, root: Path, writer: subprocess.Popen[str]
) -> None:
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    os.truncate(topic_file(root), topic_file(root).stat().st_size - 5)
    check_sees(log, [1])
    assert topic_file(root).read_bytes().count(b"\n") == 1
    assert add(log, [event(b"k", n=3)]) == (2,)


def test_who_would_write_waits(log: FileLog, writer: subprocess.Popen[str]) -> None:
    ids: list[tuple[int, ...]] = []
    waiting = Thread(target=lambda: ids.append(add(log, [event(b"k", n=3)])), daemon=True)
    waiting.start()
    check_sees(log, [1])
    assert ask(writer, "flush") == "2"
    waiting.join(PATIENCE)
    assert ids == [(3,)]
    check_sees(log, [1, 2, 3])


def test_what_the_reference_appends_meanwhile_is_seen(
    log: FileLog, root: Path, writer: subprocess.Popen[str]
) -> None:
    """It was acknowledged, by its own lights: the reader waits for the batch that is before it."""
    foreign = bare_file.line(3, event(b"k", n=3))
    with topic_file(root).open("ab") as file:
        file.write(foreign)
    seen: list[list[int]] = []
    waiting = Thread(target=lambda: seen.append(numbers(log)), daemon=True)
    waiting.start()
    assert ask(writer, "flush") == "2"
    waiting.join(PATIENCE)
    assert seen == [[1, 2, 3]]
    check_sees(log, [1, 2, 3])
    assert writer.stdin is not None
    writer.stdin.close()
    assert writer.wait(PATIENCE) == 0


def test_what_the_reference_appends_to_another_topic_meanwhile_is_seen(
    log: FileLog, root: Path
) -> None:
    with running(WRITER, root, "another") as writer:
        add(log, [event(b"k", n=1)])
        assert ask(writer, "1") == "written"
        bare_file.append(root, TOPIC, [event(b"k", n=2)])
        seen: list[list[int]] = []
        waiting = Thread(target=lambda: seen.append(numbers(log)), daemon=True)
        waiting.start()
        writer.stdin.write("flush\n")  # type: ignore[union-attr]  # it has pipes
        finish(writer)
        waiting.join(PATIENCE)
    assert seen == [[1, 2]]


class SlowDisk:
    """A flush that waits until it may go on."""

    def __init__(self) -> None:
        self.begun, self.go_on = Event(), Event()
        self.go_on.set()

    def __call__(self, file: int) -> None:
        self.begun.set()
        assert self.go_on.wait(PATIENCE)
        os.fdatasync(file)


def test_threads_of_the_same_process_see_it_once_it_is_acknowledged(root: Path) -> None:
    disk = SlowDisk()
    log = FileLog(root, sync=disk)
    log.fold_with(TOPIC, FOLD)
    add(log, [event(b"k", n=1)])
    bare_file.append(root, "another", [event(n=7)])
    disk.begun.clear()
    disk.go_on.clear()
    ids: list[tuple[int, ...]] = []
    writing = Thread(target=lambda: ids.append(add(log, [event(b"k", n=2)])), daemon=True)
    writing.start()
    assert disk.begun.wait(PATIENCE)
    check_sees(log, [1])
    assert ids == []
    disk.go_on.set()
    writing.join(PATIENCE)
    assert ids == [(2,)]
    check_sees(log, [1, 2])
    assert log.latest("another") == 1
    log.close()


def test_readers_and_foreign_writers_agree_whatever_comes_first(log: FileLog, root: Path) -> None:
    """Ours and the reference's, one after the other, while threads read."""
    over = Event()

    def write() -> None:
        for n in range(1, 60):
            if n % 3:
                add(log, [event(b"k", n=n)])
            else:
                bare_file.append(root, TOPIC, [event(b"k", n=n)])
        over.set()

    def read() -> None:
        seen: list[StoredEvent] = []
        while not over.is_set():
            events = every_event(log)
            assert events[: len(seen)] == seen
            seen = events

    concurrently(write, read, read)
    check_sees(log, list(range(1, 60)))
