"""An archive: what was removed is in a segment, and a compaction that fails removes nothing."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from sessionledger import InvalidSession, LogUnavailable, SessionStore, StoredEvent
from sessionledger.errors import MaintenanceRunning
from sessionledger.logs.chain import verify
from sessionledger.logs.compaction import archive as archiving
from sessionledger.logs.file import lines
from sessionledger.logs.file.compaction import compactor as folder_compactor
from sessionledger.logs.sql import compactor
from sessionledger.logs.sql.compactable import CompactableDatabase
from sessionledger.store.operations import compaction
from sessionledger.testing import Clock
from sessionledger.testing.forked_child import fork, reap
from tests.logs.openers import address
from tests.users import OWNER, STRANGER, as_user, folder_of, needs_root

TOPIC = "orchestrator.sessions"
RETENTION = timedelta(days=2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def url(tmp_path: Path) -> str:
    (tmp_path / "ledger").mkdir()
    return address("sqlite", tmp_path / "ledger" / "sessions.db")


@pytest.fixture
def store(url: str, clock: Clock) -> Iterator[SessionStore]:
    with SessionStore.open(url, clock=clock) as store:
        live(store, clock)
        yield store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "archive"


def live(store: SessionStore, clock: Clock, sessions: int = 5) -> None:
    for _ in range(sessions):
        token = store.create("alice", ttl=timedelta(days=90)).token
        store.touch(token, attributes={"step": 1})
    clock.advance(RETENTION + timedelta(hours=1))


def events_of(segment: Path) -> list[StoredEvent]:
    *events, closing = segment.read_bytes().splitlines()
    assert closing.startswith(b'{"line":"closing",')
    return [event for line in events if (event := lines.whole_event(line)) is not None]


def check_nothing_was_removed(store: SessionStore, folder: Path) -> None:
    assert len(list(store.events())) == store.head().id
    assert store.verify().cut == 0
    assert not folder.is_dir() or not list(folder.glob("*.jsonl*"))


def test_a_segment_has_the_removed_events_as_they_were(
    store: SessionStore, clock: Clock, folder: Path
) -> None:
    expected = list(store.events())
    store.compact(retention=RETENTION, archive=folder)
    live(store, clock)
    expected += store.events(after=len(expected))
    store.compact(retention=RETENTION, archive=folder)
    first, second = sorted(folder.iterdir())
    assert (first.name, second.name) == (
        f"{TOPIC}.{1:016d}-{10:016d}.jsonl",
        f"{TOPIC}.{11:016d}-{21:016d}.jsonl",
    )
    found = events_of(first) + events_of(second)
    assert found == expected
    assert verify(TOPIC, found) == verify(TOPIC, expected)


def test_only_the_owner_of_the_folder_may_read_a_segment(store: SessionStore, folder: Path) -> None:
    store.compact(retention=RETENTION, archive=folder)
    (segment,) = folder.iterdir()
    assert stat.S_IMODE(segment.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


@needs_root
def test_a_segment_that_root_writes_belongs_to_the_owner_of_the_folder(
    store: SessionStore, folder: Path
) -> None:
    folder.mkdir(mode=0o700)
    os.chown(folder, OWNER, OWNER)
    store.compact(retention=RETENTION, archive=folder)
    (segment,) = folder.iterdir()
    found = segment.stat()
    assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (OWNER, 0o600)


def test_a_segment_is_durable_before_the_seal(
    store: SessionStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(name: str, of: Any, attribute: str) -> None:
        real = getattr(of, attribute)

        def call(*given: Any) -> Any:
            answer = real(*given)
            done.append(name)
            return answer

        monkeypatch.setattr(of, attribute, call)

    noted("file", os, "fsync")
    noted("name", Path, "rename")
    noted("folder", archiving, "flush")
    noted("seal", compactor.Compactor, "_seal")
    store.compact(retention=RETENTION, archive=folder)
    # Flushing a folder is an fsync, too.
    assert done == ["file", "name", "file", "folder", "file", "folder", "seal"]


@pytest.mark.parametrize("name", ["notes.txt", "lost+found", "sessions.db", ".hidden", "a.jsonl"])
def test_a_folder_that_holds_something_else_is_refused(
    store: SessionStore, folder: Path, name: str
) -> None:
    folder.mkdir()
    (folder / name).write_text("mine")
    for dry_run in (True, False):
        with pytest.raises(InvalidSession, match=r"holds something else.*an empty one"):
            store.compact(retention=RETENTION, archive=folder, dry_run=dry_run)
    check_nothing_was_removed(store, folder / "nowhere")
    assert (folder / name).read_text() == "mine"


def test_the_folder_of_the_ledger_is_refused(store: SessionStore, url: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSession, match="something else"):
        store.compact(retention=RETENTION, archive=tmp_path / "ledger")
    with pytest.raises(InvalidSession, match="the ledger itself"):
        store.compact(retention=RETENTION, archive=tmp_path / "ledger" / "sessions.db")
    check_nothing_was_removed(store, tmp_path / "ledger" / "none")


@pytest.mark.parametrize("inside", ["", "topics", "archive"])
def test_a_folder_in_a_ledger_of_files_is_refused(
    tmp_path: Path, clock: Clock, inside: str
) -> None:
    with SessionStore.open(address("file", tmp_path / "files"), clock=clock) as store:
        live(store, clock)
        with pytest.raises(InvalidSession, match="the ledger itself is there"):
            store.compact(retention=RETENTION, archive=tmp_path / "files" / inside)
        check_nothing_was_removed(store, tmp_path / "files" / "archive")


def test_the_archive_of_another_ledger_is_refused(
    store: SessionStore, clock: Clock, folder: Path, tmp_path: Path
) -> None:
    with SessionStore.open(address("sqlite", tmp_path / "other"), clock=clock) as other:
        live(other, clock)
        other.compact(retention=RETENTION, archive=folder)
    (segment,) = folder.iterdir()
    before = segment.read_bytes()
    with pytest.raises(InvalidSession, match="this ledger never held"):
        store.compact(retention=RETENTION, archive=folder)
    assert store.compact(retention=RETENTION, archive=folder.with_name("mine")).sealed
    live(store, clock)
    with pytest.raises(InvalidSession, match="newest seal names no such"):
        store.compact(retention=RETENTION, archive=folder)
    live(store, clock)
    assert store.compact(retention=RETENTION, archive=folder.with_name("mine")).sealed
    with pytest.raises(InvalidSession, match="newest seal names no such"):
        store.compact(retention=RETENTION, archive=folder)
    assert segment.read_bytes() == before
    assert list(folder.iterdir()) == [segment]


@needs_root
@pytest.mark.parametrize(("mode", "problem"), [(0o500, "no permission"), (0o777, "everybody")])
def test_a_folder_that_can_not_be_used_is_refused(clock: Clock, mode: int, problem: str) -> None:
    with folder_of(STRANGER) as ledger, folder_of(STRANGER, mode) as folder:

        def compact() -> None:
            with SessionStore.open(address("sqlite", ledger / "sessions.db"), clock=clock) as store:
                live(store, clock)
                try:
                    store.compact(retention=RETENTION, archive=folder)
                finally:
                    check_nothing_was_removed(store, folder)

        said = as_user(STRANGER, compact)
    assert said.startswith("LogUnavailable")
    assert problem in said
    assert str(folder) in said


def test_a_folder_in_a_folder_that_is_not_there_is_refused(
    store: SessionStore, folder: Path
) -> None:
    with pytest.raises(LogUnavailable, match=r"No such file"):
        store.compact(retention=RETENTION, archive=folder / "deeper")
    check_nothing_was_removed(store, folder)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", str(place)]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_disk_that_fills_up_half_way_removes_nothing(
    store: SessionStore, clock: Clock, small_disk: Path
) -> None:
    live(store, clock, 100)
    with pytest.raises(LogUnavailable, match=r"full; nothing was written"):
        store.compact(retention=RETENTION, archive=small_disk)
    check_nothing_was_removed(store, small_disk)
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    assert store.compact(retention=RETENTION, archive=small_disk).sealed
    assert store.verify(archive=small_disk).ok


def test_a_file_that_may_not_grow_removes_nothing(url: str, clock: Clock, folder: Path) -> None:
    # Of PostgreSQL's kind: the ledger itself is not of this process's files.
    with SessionStore.open("memory:", clock=clock) as store:
        live(store, clock, 100)
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            with pytest.raises(LogUnavailable, match=r"may not grow"):
                store.compact(retention=RETENTION, archive=folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        check_nothing_was_removed(store, folder)
        assert store.compact(retention=RETENTION, archive=folder).sealed


def test_each_later_compaction_archives_unless_the_archive_is_given_up(
    store: SessionStore, clock: Clock, folder: Path
) -> None:
    store.compact(retention=RETENTION, archive=folder)
    live(store, clock)
    head = store.head()
    for dry_run in (True, False):
        with pytest.raises(InvalidSession, match=rf"{folder}.*--give-up-archive"):
            store.compact(retention=RETENTION, dry_run=dry_run)
    with pytest.raises(InvalidSession, match="given and given up"):
        store.compact(retention=RETENTION, archive=folder, give_up_archive=True)
    assert store.head() == head
    assert store.compact(retention=RETENTION, give_up_archive=True).sealed
    live(store, clock)
    assert store.compact(retention=RETENTION).sealed
    live(store, clock)
    # The segments from before it was given up are not this archive's.
    with pytest.raises(InvalidSession, match="newest seal names no such"):
        store.compact(retention=RETENTION, archive=folder)
    assert len(list(folder.iterdir())) == 1
    assert store.compact(retention=RETENTION, archive=folder.with_name("next")).sealed


def test_earlier_segments_may_be_moved_elsewhere(
    store: SessionStore, clock: Clock, folder: Path
) -> None:
    store.compact(retention=RETENTION, archive=folder)
    moved = folder.rename(folder.with_name("shelf"))
    live(store, clock)
    assert store.compact(retention=RETENTION, archive=folder).sealed
    assert not store.verify(archive=folder).ok
    for segment in moved.iterdir():
        segment.rename(folder / segment.name)
    assert store.verify(archive=folder).ok


def test_a_compaction_that_was_slower_than_another_writes_no_segment(
    store: SessionStore, clock: Clock, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CompactableDatabase.compact

    def overtaken(*given: Any) -> Any:
        monkeypatch.undo()
        store.compact(retention=RETENTION, archive=folder)
        live(store, clock)
        return real(*given)

    monkeypatch.setattr(CompactableDatabase, "compact", overtaken)
    with pytest.raises(MaintenanceRunning, match="faster"):
        store.compact(retention=RETENTION, archive=folder)
    assert len(list(folder.iterdir())) == 1
    assert store.verify(archive=folder).ok


def test_a_compaction_that_is_overtaken_before_it_looks_into_the_archive_says_so(
    store: SessionStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = compaction._keep

    async def overtaken(*given: Any, **named: Any) -> Any:
        monkeypatch.undo()
        store.compact(retention=RETENTION, archive=folder)
        return await real(*given, **named)

    monkeypatch.setattr(compaction, "_keep", overtaken)
    with pytest.raises(MaintenanceRunning, match="faster"):
        store.compact(retention=RETENTION, archive=folder)
    assert store.verify(archive=folder).ok


STEPS: dict[str, tuple[Any, str]] = {
    "a line": (lines, "line_of"),
    "the flush of the file": (os, "fsync"),
    "the rename": (Path, "rename"),
    "the flush of the folder": (archiving, "flush"),
    "folding": (compactor.Compactor, "_stage"),
    "the seal": (compactor.Compactor, "_seal"),
    "the removal": (compactor.Compactor, "_remove"),
}
STEPS_OF_A_FOLDER = {
    "the base": (folder_compactor.Compactor, "_write"),
    "the seal": (folder_compactor.Compactor, "_seal"),
    "the new file": (Path, "replace"),
}
EACH_STEP = [
    *(pytest.param("sqlite", *where, id=f"sqlite-{step}") for step, where in STEPS.items()),
    *(pytest.param("file", *where, id=f"file-{step}") for step, where in STEPS_OF_A_FOLDER.items()),
]


def kill_at(url: str, clock: Clock, folder: Path, of: Any, step: str, *, before: bool) -> None:
    """Compact in a process that is killed at a step."""

    def work() -> None:
        real: Callable[..., Any] = getattr(of, step)

        def killed(*given: Any) -> None:
            if not before:
                real(*given)
            os.kill(os.getpid(), signal.SIGKILL)

        with SessionStore.open(url, clock=clock) as store:
            setattr(of, step, killed)
            store.compact(retention=RETENTION, archive=folder)

    assert reap(fork(work)) == -signal.SIGKILL


@pytest.mark.middle
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(("log", "of", "step"), EACH_STEP)
def test_a_kill_at_any_step_loses_nothing_and_the_next_run_goes_on(
    log: str, of: Any, step: str, before: bool, tmp_path: Path, clock: Clock, folder: Path
) -> None:
    url = address(log, tmp_path / "ledger")
    with SessionStore.open(url, clock=clock) as store:
        live(store, clock)
        store.compact(retention=RETENTION, archive=folder)
        live(store, clock)
    kill_at(url, clock, folder, of, step, before=before)
    clock.advance(timedelta(hours=1))
    with SessionStore.open(url, clock=clock) as store:
        found = store.verify(archive=folder)
        assert found.ok
        assert (found.events, found.cut) == (store.head().id, 0)
        expected = list(store.events(archive=folder))
        live(store, clock)
        assert store.compact(retention=RETENTION, archive=folder).sealed
        assert list(store.events(archive=folder))[: len(expected)] == expected
        assert store.verify(archive=folder).ok
        assert store.verify(archive=folder).cut == 0
        # Every file is a segment that the chain leads to.
        sealed = [
            event.value["archive"]
            for event in store.events(archive=folder)
            if event.kind == "history_sealed"
        ]
        assert sorted(one["name"] for one in sealed) == sorted(os.listdir(folder))


@pytest.mark.parametrize("file", ["draft", "segment"])
def test_what_an_interrupted_run_left_goes_even_if_there_is_nothing_to_archive(
    url: str, clock: Clock, folder: Path, file: str
) -> None:
    with SessionStore.open(url, clock=clock) as store:
        live(store, clock)
    kill_at(url, clock, folder, *STEPS["a line" if file == "draft" else "folding"], before=True)
    assert len(list(folder.iterdir())) == 1
    with SessionStore.open(url, clock=clock) as store:
        store.compact(retention=timedelta(days=900), archive=folder, dry_run=True)
        assert len(list(folder.iterdir())) == 1
        assert not store.compact(retention=timedelta(days=900), archive=folder).sealed
        assert list(folder.iterdir()) == []
        check_nothing_was_removed(store, folder)
