"""A topic's file that is replaced by one with the remaining events, whatever happens meanwhile."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from sessionledger import CorruptLog, InvalidEvent, LogUnavailable, RowFilter, diagnose
from sessionledger.errors import HistoryCut, MaintenanceRunning
from sessionledger.logs.base import Log
from sessionledger.logs.compaction.contract import Reduction
from sessionledger.logs.file import FileLog
from sessionledger.logs.file.compaction import compactor, replacing
from sessionledger.logs.file.index import TopicIndex
from sessionledger.testing.conformance.compaction import compact
from sessionledger.testing.fixtures import TOPIC, add, concurrently, event
from tests.logs import bare_file
from tests.logs.children import start
from tests.logs.file.locations import (
    checkpoint_file,
    coming_file,
    compact_all,
    durable_file,
    opened,
    topic_file,
    url_of,
)


@pytest.fixture
def five(root: Path) -> bytes:
    """A ledger of five events about three keys, and the text of its file."""
    with opened(root) as log:
        add(log, [event(bytes([n % 3]), n=n) for n in range(5)])
    return topic_file(root).read_bytes()


def told(log: Log) -> tuple[object, ...]:
    """What a log tells of its rows."""
    return log.rows(TOPIC), log.rows(TOPIC, RowFilter(owner="alice"))


def ids_left(log: FileLog) -> list[int]:
    """The ids of the remaining events."""
    return [one.id for one in log.read(TOPIC, log.cut(TOPIC).id)]


# What stays


def test_the_file_has_only_what_remains(root: Path, five: bytes) -> None:
    with opened(root) as log:
        before = told(log)
        compact(log, 3)
        assert told(log) == before
        assert ids_left(log) == [4, 5, 6]
        assert log.topics() == [TOPIC]
    kept = b"".join(five.splitlines(keepends=True)[3:])
    assert topic_file(root).read_bytes().startswith(kept)
    assert sorted(path.name for path in root.rglob("*") if path.is_file()) == [
        *("ledger.lock", "maintenance.lock", TOPIC, f"{TOPIC}.checkpoint", f"{TOPIC}.jsonl")
    ]


def test_a_topic_without_a_fold_is_not_compacted(root: Path, five: bytes) -> None:
    with closing(FileLog(root)) as log, pytest.raises(InvalidEvent, match="fold"):
        compact(log, 3)
    assert topic_file(root).read_bytes() == five


@pytest.mark.parametrize("cuts", [[5], [1, 2, 3], [2, 5, 7]])
def test_an_open_log_knows_of_the_new_file_what_a_new_one_reads(
    root: Path, cuts: list[int]
) -> None:
    with opened(root) as log, opened(root) as follower, opened(root) as bare:
        add(log, [event(bytes([n % 3]), n=n, live=n != 1) for n in range(5)])
        assert bare.latest(TOPIC) == 5
        told(follower)
        for cut in cuts:
            compact(log, cut)
            (id,) = add(follower, [event(bytes([9]), n=cut)])
            with opened(root) as fresh:
                for one in (log, follower, bare):
                    assert told(one) == told(fresh)
                    assert ids_left(one) == ids_left(fresh)
                    for key in (bytes([n]) for n in (0, 1, 2, 9)):
                        history = one.read_key(TOPIC, key, cut)
                        assert history == fresh.read_key(TOPIC, key, cut)
                        known = one._known[TOPIC].table.history(key, 0, 99)
                        assert sum(id <= cut for id in known) <= 1
                    assert one.read_key(TOPIC, bytes([9]), cut)[-1].id == id
        log.rebuild(TOPIC)
        assert told(log) == told(follower)


def test_an_open_log_reads_nothing_of_the_new_file_that_it_knows(
    root: Path, five: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise every process would stand still after each compaction of a large ledger."""
    with opened(root) as log, opened(root) as follower:
        told(follower)
        compact(log, 2)
        told(log)
        scanned: list[int] = []
        real = TopicIndex._take_in

        def counted(self: TopicIndex, block: bytes, *given: Any) -> None:
            scanned.append(len(block.splitlines()))
            real(self, block, *given)

        monkeypatch.setattr(TopicIndex, "_take_in", counted)
        told(follower)
        assert scanned == [1]  # the seal


# Others who have the ledger open


def test_others_go_on_where_they_were(root: Path, five: bytes) -> None:
    with opened(root) as follower, opened(root) as writer:
        before = told(follower)
        compact(writer, 5)
        assert told(follower) == before
        assert ids_left(follower) == [6]
        assert add(follower, [event(b"k")]) == (7,)
        assert ids_left(writer) == [6, 7]
        with pytest.raises(HistoryCut):
            follower.read(TOPIC)


def test_another_file_with_the_inode_of_an_old_one_is_not_taken_for_it(root: Path) -> None:
    """File systems use an inode again, and nobody need have looked between two compactions."""
    with opened(root) as follower, opened(root) as writer:
        add(writer, [event(n=n) for n in range(100)])
        compact(writer, 100)
        add(writer, [event(b"k", n=1), event(b"l", n=1)])
        assert follower.state(TOPIC, b"k") == writer.state(TOPIC, b"k")
        before = topic_file(root).stat()
        for _ in range(100):
            compact(writer, writer.latest(TOPIC))
            add(writer, [event(b"k", n=2), event(b"l", n=1)])
            if topic_file(root).stat().st_ino == before.st_ino:
                break
        else:
            pytest.skip("this file system does not use inodes again")
        assert follower.state(TOPIC, b"k") == writer.state(TOPIC, b"k")
        assert ids_left(follower) == ids_left(writer)


def test_a_row_that_changes_while_it_is_reduced_is_kept(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(root) as log, opened(root) as other:
        add(log, [event(b"k", live=False), event(b"l", live=False)])
        real, changes = compactor.Compactor._write, [event(b"k", live=False, n=1)]

        def overtaken(self: Any, *given: Any) -> Any:
            while changes:
                add(other, [changes.pop()])
            return real(self, *given)

        monkeypatch.setattr(compactor.Compactor, "_write", overtaken)
        assert compact(log, 2) == Reduction(1)
        row = log.row(TOPIC, b"k")
        assert row is not None
        assert row.version == 3
        assert row.state != b"gone"
        assert log.base_row(TOPIC, b"k") != log.base_row(TOPIC, b"l")
        with opened(root) as fresh:
            assert told(fresh) == told(log) == told(other)
        reduced = log.row(TOPIC, b"l")
        assert reduced is not None
        assert reduced.state == b"gone"


def test_writers_go_on_while_the_events_are_copied(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compactor, "BLOCK_BYTES", 100)
    with opened(root) as log, opened(root) as other:
        add(log, [event(bytes([n]), n=n) for n in range(9)])
        real, written = replacing.Replacing.copy, list(range(10, 15))

        def beside(files: Any, start: int, end: int) -> None:
            if written:
                assert add(other, [event(b"other", n=written[0])]) == (written.pop(0),)
            real(files, start, end)

        monkeypatch.setattr(replacing.Replacing, "copy", beside)
        # The last copy is made while nobody writes, so the writer has to be done by then.
        compact(log, 3)
        assert not written
        assert ids_left(log) == ids_left(other) == list(range(4, 16))


# Others who append to a topic that was compacted


@pytest.mark.parametrize("whole", [True, False])
def test_a_line_of_another_program_is_refused_and_a_torn_one_is_cut(
    root: Path, five: bytes, whole: bool
) -> None:
    compact_all(root)
    before = topic_file(root).read_bytes()
    bare_file.append(root, TOPIC, [event(b"k")])
    if whole:
        check_refused(root, "another program", "appended_by_others")
        size = topic_file(root).stat().st_size - len(before)
        topic_file(root).write_bytes(before + bytes(9) + topic_file(root).read_bytes()[-size:])
        check_refused(root, "another program", "appended_by_others")
        topic_file(root).write_bytes(before)
    else:
        topic_file(root).write_bytes(topic_file(root).read_bytes()[:-9])
    with opened(root) as log:
        assert log.latest(TOPIC) == 6
        assert add(log, [event()]) == (7,)


def test_what_another_program_appended_before_stays(root: Path, five: bytes) -> None:
    bare_file.append(root, TOPIC, [event(bytes([0]), n=5), event(bytes([1]), n=6)])
    for durable in (True, False):
        with opened(root) as log:
            compact(log, 3 if durable else 4)
        if not durable:
            shutil.rmtree(root / "durable")
    with opened(root) as log:
        assert ids_left(log)[:3] == [5, 6, 7]
        row = log.row(TOPIC, bytes([1]))
        assert row is not None
        assert row.version == 7


# What is no compaction


def test_a_file_that_was_cut_after_it_was_compacted_is_refused(root: Path, five: bytes) -> None:
    compact_all(root)
    with opened(root) as log:
        add(log, [event(b"k")])
    text = topic_file(root).read_bytes()
    topic_file(root).write_bytes(text[: text.index(b"\n") + 1])
    check_refused(root, "cut", "log_cut_short")
    for left in (text[:100], b""):
        topic_file(root).write_bytes(left)
        check_refused(root, "older copy")


@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize("finished", [True, False])
def test_an_older_copy_of_the_file_is_refused(
    root: Path, five: bytes, durable: bool, finished: bool
) -> None:
    compact_all(root)
    compact_all(root)
    if not finished:
        checkpoint_file(root).rename(coming_file(root))
    topic_file(root).write_bytes(five if finished else five[:-20] + five[:20])
    if not durable:
        shutil.rmtree(root / "durable")
    check_refused(root, "older copy")


def test_an_older_checkpoint_is_refused(root: Path, five: bytes) -> None:
    compact_all(root)
    older = checkpoint_file(root).read_bytes()
    with opened(root) as log:
        add(log, [event(b"k")])
    compact_all(root)
    checkpoint_file(root).write_bytes(older)
    check_refused(root, "older copy")
    checkpoint_file(root).unlink()
    check_refused(root, "replaced")


@pytest.mark.parametrize("where", [0, 20, 300, -70, -30, -1])
def test_a_damaged_checkpoint_is_refused(root: Path, five: bytes, where: int) -> None:
    compact_all(root)
    text = bytearray(checkpoint_file(root).read_bytes())
    text[where] ^= 1
    checkpoint_file(root).write_bytes(text)
    check_refused(root, "damaged")
    checkpoint_file(root).write_bytes(b"")
    check_refused(root, "damaged")


def check_refused(root: Path, why: str, code: str = "checkpoint_wrong") -> None:
    """Nobody reads or appends, the doctor says why, and nothing is changed by any of it."""
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    with opened(root) as log:
        calls: list[Callable[[str], object]] = [log.latest, log.rows, log.cut]
        calls.append(lambda _: add(log, [event()]))
        for refused in calls:
            with pytest.raises(CorruptLog, match=why):
                refused(TOPIC)
    assert code in {found.code for found in diagnose(url_of(root), topic=TOPIC)}
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_copy_of_the_whole_goes_on(root: Path, five: bytes, tmp_path: Path) -> None:
    compact_all(root)
    with opened(root) as log:
        add(log, [event(b"k")])
        before = told(log)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / "durable")
    with opened(copy) as log:
        assert told(log) == before
        assert add(log, [event()]) == (8,)


def test_a_reader_without_permission_to_write_sees_what_remains(
    root: Path, five: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(root) as log:
        before = told(log)
        compact(log, 3)
    monkeypatch.setattr(FileLog, "_open_writer_lock", lambda self: None)
    with opened(root) as reader:
        assert told(reader) == before
        assert ids_left(reader) == [4, 5, 6]
        with pytest.raises(LogUnavailable):
            compact(reader, 5)


def test_one_process_at_a_time_compacts(root: Path, five: bytes) -> None:
    with opened(root) as log, opened(root) as other:
        maintaining: list[Callable[[], object]] = [lambda: compact(other, 3)]
        maintaining.append(lambda: other.rebuild(TOPIC))
        for maintain in maintaining:
            with log._lease(), pytest.raises(MaintenanceRunning):
                maintain()
        compact(other, 3)


# Killed anywhere

COMPACTING = """
import os, signal, sys
from tests.logs.file.locations import opened
from sessionledger.testing.conformance.compaction import compact
from sessionledger.testing.fixtures import TOPIC

root, last, events = sys.argv[1], int(sys.argv[2]), ("open", "os.rename", "os.remove", "os.mkdir")
with opened(root) as log:
    log.count(TOPIC)
    done = 0

    def killed(name, args):
        global done
        if name in events:
            done += 1
            if done == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(killed)
    compact(log, int(sys.argv[3]))
print("done")
"""


@pytest.mark.middle
@pytest.mark.sampled
@pytest.mark.parametrize("before", [0, 1])
def test_killed_at_any_step_it_is_the_old_topic_or_the_compacted_one(
    tmp_path: Path, before: int
) -> None:
    seen: set[int] = set()
    for step in range(1, 80):
        root = tmp_path / str(step)
        with opened(root) as log, opened(root) as follower:
            for _ in range(before):
                add(log, [event(bytes([n % 3])) for n in range(4)])
                compact(log, log.latest(TOPIC) - 1)
            ids = add(log, [event(bytes([n % 3]), n=n) for n in range(5)])
            expected = told(follower)
            child = start(COMPACTING, root, step, ids[2])
            out, err = child.communicate(timeout=60)
            assert child.returncode == (0 if out else -signal.SIGKILL), err
            is_cut = follower.cut(TOPIC).id == ids[2]
            seen.add(is_cut)
            assert set(ids[3 * is_cut :]) <= set(ids_left(follower))
            with opened(root) as another:
                assert told(follower) == told(another) == expected
                head = another.latest(TOPIC)
                assert head == ids[-1] + is_cut
                assert add(another, [event(b"k")]) == (head + 1,)
                rows = told(another)
                compact(another, head)
                assert told(follower) == rows
                names = {path.name for path in root.rglob("*")}
                assert not [name for name in names if name.endswith((".new", ".next"))]
                assert add(follower, [event()]) == (head + 3,)
        if out:
            break
    assert out
    assert step > 20
    assert seen == {False, True}


def test_a_topic_goes_on_though_it_was_never_published_that_it_was_compacted(
    root: Path, five: bytes
) -> None:
    """As after a loss of power: what is published is never flushed."""
    older = durable_file(root).read_bytes()
    compact_all(root)
    durable_file(root).write_bytes(older)
    with opened(root) as log:
        assert log.latest(TOPIC) == 6
        assert add(log, [event()]) == (7,)
    assert durable_file(root).read_bytes() != older


def test_a_compaction_that_failed_leaves_the_topic_and_may_be_tried_again(
    root: Path, five: bytes
) -> None:
    topic_file(root).with_name(f".{TOPIC}.jsonl.new").mkdir()
    with opened(root) as log:
        before = told(log)
        with pytest.raises(LogUnavailable):
            compact(log, 3)
        assert told(log) == before
        assert ids_left(log) == [1, 2, 3, 4, 5]
        assert add(log, [event()]) == (6,)
        topic_file(root).with_name(f".{TOPIC}.jsonl.new").rmdir()
        compact(log, 3)
        assert ids_left(log) == [4, 5, 6, 7]


@pytest.mark.middle
def test_readers_notice_nothing_but_that_events_are_gone(root: Path) -> None:
    over = Event()

    def write(log: FileLog) -> None:
        for n in range(40):
            add(log, [event(b"k", n=n)])
            compact(log, log.latest(TOPIC))
        over.set()

    def read(log: FileLog) -> None:
        latest = version = 0
        while not over.is_set():
            try:
                ids = ids_left(log)
                assert ids == list(range(ids[0], ids[-1] + 1)) if ids else not latest
            except HistoryCut:
                pass
            before, latest = latest, log.latest(TOPIC)
            assert latest >= before
            row = log.row(TOPIC, b"k")
            assert row is None or row.version >= version
            version = 0 if row is None else row.version

    with opened(root) as log, opened(root) as another:
        concurrently(partial(write, log), partial(read, log), partial(read, another))
        assert told(log) == told(another)
        assert log.latest(TOPIC) == 80
