"""A topic whose events are all removed: its head and its rows stay, whatever happens meanwhile."""

from __future__ import annotations

import shutil
import signal
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from sessionledger import (
    CorruptLog,
    DuplicateSession,
    InvalidEvent,
    LogUnavailable,
    RowFilter,
    diagnose,
)
from sessionledger.logs.base import Log
from sessionledger.logs.file import FileLog
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.session_fold import SessionFold
from sessionledger.testing.fixtures import TOPIC, add, concurrently, event, every_event
from tests.logs import bare_file
from tests.logs.children import start
from tests.logs.file.locations import (
    checkpoint_file,
    durable_file,
    empty,
    opened,
    store_on,
    topic_file,
    url_of,
)

LIVE, ENDED = (f"a token that is long enough, number {n}" for n in range(2))


def coming_file(root: Path) -> Path:
    return root / "checkpoints" / f"{TOPIC}.next"


@pytest.fixture
def five(root: Path) -> bytes:
    """A ledger of five events about three keys, and the text of its file."""
    with opened(root) as log:
        add(log, [event(bytes([n % 3]), n=n) for n in range(5)])
    return topic_file(root).read_bytes()


def told(log: Log) -> tuple[object, ...]:
    """What a log tells of its rows."""
    return log.rows(TOPIC), log.rows(TOPIC, RowFilter(owner="alice")), log.latest(TOPIC)


# What stays


def test_the_rows_and_the_head_stay(log: FileLog) -> None:
    add(log, [event(bytes([n % 3]), n=n) for n in range(5)])
    before = told(log)
    log.empty(TOPIC)
    assert every_event(log) == []
    assert told(log) == before
    assert log.topics() == [TOPIC]
    assert log.rebuild(TOPIC) == 0
    assert told(log) == before


def test_a_topic_without_a_fold_is_not_emptied(root: Path, five: bytes) -> None:
    with closing(FileLog(root)) as log, pytest.raises(InvalidEvent, match="fold"):
        log.empty(TOPIC)
    assert topic_file(root).read_bytes() == five


def test_emptying_what_is_empty_changes_nothing(root: Path, five: bytes) -> None:
    empty(root)
    before = checkpoint_file(root).read_bytes()
    empty(root)
    assert checkpoint_file(root).read_bytes() == before


def test_the_history_of_a_key_is_what_is_left_of_it(root: Path, five: bytes) -> None:
    with opened(root) as log:
        log.empty(TOPIC)
        assert log.read_key(TOPIC, bytes([0])) == []
        (id,) = add(log, [event(bytes([0]), n=6)])
        assert [one.id for one in log.read_key(TOPIC, bytes([0]), limit=1)] == [id]
    with opened(root) as log:
        assert [one.id for one in log.read_key(TOPIC, bytes([0]), limit=1)] == [id]
        assert log.read_key(TOPIC, bytes([1])) == []


@pytest.mark.parametrize("times", [1, 3])
def test_sessions_live_on_and_none_comes_back(root: Path, times: int) -> None:
    with store_on(root) as store:
        store.create("alice", token=LIVE)
        store.create("bob", token=ENDED)
        store.expire(ENDED)
    for n in range(times):
        with opened(root) as log, store_on(root) as store:
            log.fold_with(SESSIONS_TOPIC, SessionFold(SESSIONS_TOPIC))
            log.empty(SESSIONS_TOPIC)
            assert store.verify(expect=str(store.head())).ok
            assert diagnose(url_of(root)) == store.diagnose() == []
        with store_on(root) as store:
            assert store.get(LIVE) is not None
            assert store.get(ENDED) is None
            with pytest.raises(DuplicateSession):
                store.create("mallory", token=ENDED)
            touched = store.touch(LIVE)
            assert touched is not None
            assert touched.version == 4 + n
            assert store.verify().ok
            assert diagnose(url_of(root)) == store.diagnose() == []
            store.rebuild()
            assert store.get(ENDED) is None


def test_a_diagnosis_tells_of_the_events_that_are_left(root: Path) -> None:
    told: list[tuple[int, int]] = []
    with store_on(root) as store:
        store.create("alice", token=LIVE)
    with opened(root) as log:
        log.fold_with(SESSIONS_TOPIC, SessionFold(SESSIONS_TOPIC))
        log.empty(SESSIONS_TOPIC)
    with store_on(root) as store:
        store.touch(LIVE)
        store.expire(LIVE)
        store.diagnose(progress=lambda *done: told.append(done))
    assert told == [(2, 2)]


# Others who have the ledger open


def test_others_go_on_where_they_were(root: Path, five: bytes) -> None:
    with opened(root) as follower, opened(root) as writer:
        before = told(follower)
        writer.empty(TOPIC)
        assert told(follower) == before
        assert every_event(follower) == []
        assert add(follower, [event(b"k")]) == (6,)
        assert [one.id for one in every_event(writer)] == [6]


def test_another_file_with_the_inode_and_the_length_of_an_old_one_is_not_taken_for_it(
    root: Path,
) -> None:
    """File systems use an inode again, and nobody need have looked between two emptyings."""
    with opened(root) as follower, opened(root) as writer:
        add(writer, [event(n=n) for n in range(100)])
        writer.empty(TOPIC)
        add(writer, [event(b"k", n=1), event(b"l", n=1)])
        assert follower.state(TOPIC, b"k") == writer.state(TOPIC, b"k")
        before = topic_file(root).stat()
        for _ in range(100):
            writer.empty(TOPIC)
            id, last = add(writer, [event(b"k", n=2), event(b"l", n=1)])
            after = topic_file(root).stat()
            if after.st_ino == before.st_ino:
                break
        else:
            pytest.skip("this file system does not use inodes again")
        assert after.st_size == before.st_size
        assert follower.state(TOPIC, b"k") == writer.state(TOPIC, b"k")
        assert [one.id for one in every_event(follower)] == [id, last]


# The reference, which knows nothing of checkpoints


def test_what_the_reference_appends_gets_the_ids_that_follow(root: Path, five: bytes) -> None:
    empty(root)
    bare_file.append(root, TOPIC, [event(bytes([0]), n=5), event(bytes([1]), n=6)])
    assert topic_file(root).read_bytes().startswith(b'{"id":1,')
    for _ in range(2):
        with opened(root) as log:
            assert [one.id for one in every_event(log)][:2] == [6, 7]
            row = log.row(TOPIC, bytes([0]))
            assert row is not None
            assert (row.version, row.created) == (6, 1)
    with opened(root) as log:
        assert add(log, [event()]) == (8,)
    bare_file.append(root, TOPIC, [event(n=9)])
    with opened(root) as log:
        assert [one.id for one in every_event(log)] == [6, 7, 8, 9]
        log.empty(TOPIC)
        assert add(log, [event()]) == (10,)


# What is no emptying


def test_a_file_that_was_cut_after_it_was_emptied_is_refused(root: Path, five: bytes) -> None:
    empty(root)
    with opened(root) as log:
        add(log, [event(b"k")])
    topic_file(root).write_bytes(b"")
    check_refused(root, "cut", "log_cut_short")


@pytest.mark.parametrize("durable", [True, False])
def test_an_older_copy_of_the_file_is_refused(root: Path, five: bytes, durable: bool) -> None:
    empty(root)
    topic_file(root).write_bytes(five)
    if not durable:
        shutil.rmtree(root / "durable")
    check_refused(root, "older copy")


def test_an_older_origin_is_refused(root: Path, five: bytes) -> None:
    empty(root)
    older = checkpoint_file(root).read_bytes()
    with opened(root) as log:
        add(log, [event(b"k")])
    empty(root)
    checkpoint_file(root).write_bytes(older)
    check_refused(root, "replaced")
    checkpoint_file(root).unlink()
    check_refused(root, "replaced")


@pytest.mark.parametrize("where", [0, 20, 300, -30, -1])
def test_a_damaged_origin_is_refused(root: Path, five: bytes, where: int) -> None:
    empty(root)
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
        for refused in (log.latest, log.rows, log.empty, lambda _: add(log, [event()])):
            with pytest.raises(CorruptLog, match=why):
                refused(TOPIC)
    assert code in {found.code for found in diagnose(url_of(root), topic=TOPIC)}
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_copy_of_the_whole_goes_on(root: Path, five: bytes, tmp_path: Path) -> None:
    empty(root)
    with opened(root) as log:
        add(log, [event(b"k")])
        before = told(log)
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    shutil.rmtree(copy / "durable")
    with opened(copy) as log:
        assert told(log) == before
        assert add(log, [event()]) == (7,)


def test_who_may_only_read_sees_what_is_left(
    root: Path, five: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(root) as log:
        before = told(log)
        log.empty(TOPIC)
    monkeypatch.setattr(FileLog, "_open_writer_lock", lambda self: None)
    with opened(root) as reader:
        assert told(reader) == before
        with pytest.raises(LogUnavailable):
            reader.empty(TOPIC)


# Killed anywhere

EMPTIER = """
import os, signal, sys
from tests.logs.file.locations import opened
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
    log.empty(TOPIC)
print("done")
"""


@pytest.mark.middle
@pytest.mark.sampled
@pytest.mark.parametrize("before", [0, 1])
def test_killed_at_any_step_it_is_the_old_topic_or_the_emptied_one(
    tmp_path: Path, before: int
) -> None:
    seen: set[int] = set()
    for step in range(1, 60):
        root = tmp_path / str(step)
        with opened(root) as log, opened(root) as follower:
            for _ in range(before):
                add(log, [event(bytes([n % 3])) for n in range(4)])
                log.empty(TOPIC)
            ids = add(log, [event(bytes([n % 3]), n=n) for n in range(5)])
            expected = told(follower)
            child = start(EMPTIER, root, step)
            out, err = child.communicate(timeout=60)
            assert child.returncode == (0 if out else -signal.SIGKILL), err
            seen.add(left := len(every_event(follower)))
            assert left in (0, 5)
            with opened(root) as another:
                assert told(follower) == told(another) == expected
                bare_file.append(root, TOPIC, [event(n=7)])
                assert another.latest(TOPIC) == ids[-1] + 1
                assert add(another, [event(b"k")]) == (ids[-1] + 2,)
                rows = told(another)
                empty(root)
                assert told(follower) == rows
                assert not coming_file(root).exists()
                assert add(follower, [event()]) == (ids[-1] + 3,)
        if out:
            break
    assert out
    assert step > 8
    assert seen == {0, 5}


def test_a_topic_goes_on_though_it_was_never_said_that_it_was_emptied(
    root: Path, five: bytes
) -> None:
    """As after a loss of power: what is published is never flushed."""
    older = durable_file(root).read_bytes()
    empty(root)
    durable_file(root).write_bytes(older)
    with opened(root) as log:
        assert log.latest(TOPIC) == 5
        assert add(log, [event()]) == (6,)
    assert durable_file(root).read_bytes() != older


def test_an_emptying_that_failed_leaves_the_topic_and_may_be_tried_again(
    root: Path, five: bytes
) -> None:
    topic_file(root).with_name(f".{TOPIC}.jsonl.new").mkdir()
    with opened(root) as log:
        before = told(log)
        with pytest.raises(LogUnavailable):
            log.empty(TOPIC)
        assert told(log) == before
        assert len(every_event(log)) == 5
        assert add(log, [event()]) == (6,)
        topic_file(root).with_name(f".{TOPIC}.jsonl.new").rmdir()
        log.empty(TOPIC)
        assert every_event(log) == []
        assert add(log, [event()]) == (7,)


@pytest.mark.middle
def test_readers_notice_nothing_but_that_events_are_gone(root: Path) -> None:
    over = Event()

    def write(log: FileLog) -> None:
        for n in range(40):
            add(log, [event(b"k", n=n)])
            log.empty(TOPIC)
        over.set()

    def read(log: FileLog) -> None:
        latest = version = 0
        while not over.is_set():
            for ids in (every_event(log), log.read_key(TOPIC, b"k")):
                assert [one.id for one in ids] in ([], [one.id for one in ids[-1:]])
            before, latest = latest, log.latest(TOPIC)
            assert latest >= before
            row = log.row(TOPIC, b"k")
            assert row is None or row.version >= version
            version = 0 if row is None else row.version

    with opened(root) as log, opened(root) as another:
        concurrently(partial(write, log), partial(read, log), partial(read, another))
        assert told(log) == told(another)
        assert log.latest(TOPIC) == 40
