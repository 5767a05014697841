"""A ledger that is read together with its archive: as if nothing had been removed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from sessionledger import (
    CorruptLog,
    HistoryCut,
    InvalidSession,
    LogUnavailable,
    SessionStore,
    StoredEvent,
)
from sessionledger.testing import Clock
from tests.logs.openers import address
from tests.store.facade import EACH, Bench

DAY = timedelta(days=1)
RETENTION = timedelta(days=2)


@pytest.fixture(params=EACH)
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(request.param, tmp_path / "ledger.db")
    yield bench
    bench.close()


def live_a_day(store: SessionStore, clock: Clock) -> list[str]:
    """The handles of a day: sessions that go on, end, are rotated, and are ended by a selection."""
    kept = store.create("alice", ttl=90 * DAY, attributes={"step": 1})
    ended = store.create("alice", ttl=90 * DAY)
    rotated = store.create("bob", ttl=90 * DAY)
    selected = store.create("carol", ttl=90 * DAY)
    clock.advance(timedelta(hours=1))
    store.touch(kept.token, attributes={"step": 2})
    store.expire(ended.token)
    newer = store.rotate(rotated.token)
    assert newer is not None
    store.revoke_where(principals=["carol"], reason="a leak")
    clock.advance(DAY)
    return [one.handle for one in (kept, ended, rotated, newer, selected)]


class Story:
    """Days with a compaction after each, and what was told of them just before it."""

    def __init__(self, store: SessionStore, clock: Clock, archive: Path) -> None:
        self.events: list[StoredEvent] = []
        self.handles: list[str] = []
        for day in range(3):
            self.handles += live_a_day(store, clock)
            clock.advance(RETENTION)
            if day == 1:
                store.revoke_everybody(reason="a drill")
                while store.sweep():
                    pass
            self.events += store.events(after=len(self.events))
            assert store.compact(retention=RETENTION, archive=archive).sealed
        self.events += store.events(after=len(self.events))


def test_a_segment_that_the_system_stops_reading_is_told(tmp_path: Path) -> None:
    archive, clock = tmp_path / "archive", Clock()
    with SessionStore.open("memory:", clock=clock) as store:
        Story(store, clock, archive)
        newest = max(archive.iterdir())
        newest.unlink()
        newest.symlink_to("/proc/self/mem")  # it opens, and has no end to seek
        for call in (store.events, partial(store.history, principal="alice")):
            with pytest.raises(LogUnavailable, match="can't be read"):
                list(call(archive=archive))


@pytest.mark.parametrize("name", ["n" * 300, "file", "loop", "a\0b", "\ud800"])
def test_a_folder_that_the_system_does_not_read_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    folder, clock = str(tmp_path / name), Clock()
    with SessionStore.open("memory:", clock=clock) as store:
        issued = store.create("alice", ttl=9 * DAY)
        clock.advance(3 * DAY)
        store.create("alice", ttl=9 * DAY)
        with pytest.raises((LogUnavailable, InvalidSession)):
            store.compact(retention=RETENTION, archive=folder)
        assert store.compact(retention=RETENTION, archive=tmp_path / "archive").sealed
        with pytest.raises(LogUnavailable, match="can't be read"):
            list(store.events(archive=folder))
        with pytest.raises(LogUnavailable, match="can't be read"):
            list(store.history(handle=issued.handle, archive=folder))


def test_all_is_read_as_if_nothing_had_been_removed(bench: Bench, tmp_path: Path) -> None:
    store, archive = bench.open(), tmp_path / "archive"
    story = Story(store, bench.clock, archive)
    assert len(story.events) == story.events[-1].id
    for after in (0, 7, len(story.events) - 1):
        assert list(store.events(after=after, archive=archive)) == story.events[after:]
    found = store.verify(archive=archive)
    assert (found.ok, found.events, found.cut) == (True, len(story.events), 0)
    assert found.head == store.head()


def test_the_history_of_a_session_that_ended_is_complete_again(
    bench: Bench, tmp_path: Path
) -> None:
    store, clock, archive = bench.open(), bench.clock, tmp_path / "archive"
    handles = live_a_day(store, clock)
    clock.advance(RETENTION)
    before = [list(store.history(handle=handle)) for handle in handles]
    alice = list(store.history(principal="alice"))
    assert all(before)
    store.compact(retention=RETENTION, archive=archive)
    for _ in range(2):
        live_a_day(store, clock)
        clock.advance(RETENTION)
        store.compact(retention=RETENTION, archive=archive)
    for handle, entries in zip(handles, before, strict=True):
        (page,) = store.history(handle=handle, archive=archive).pages()
        # The sweep of the compaction recorded the end of the one that was rotated.
        assert (page.entries[: len(entries)], page.cut) == (entries, 0)
    assert list(store.history(handle=handles[1])) == []
    pages = list(store.history(principal="alice", archive=archive, page_size=2).pages())
    assert [page.cut for page in pages] == [0] * len(pages)
    entries = [entry for page in pages for entry in page.entries]
    assert entries[: len(alice)] == alice
    assert len(entries) == 3 * len(alice)
    rest = list(store.history(principal="alice", archive=archive, after=alice[1].event_id))
    assert rest == entries[2:]


def test_a_mark_in_the_archive_is_told_as_it_was(bench: Bench, tmp_path: Path) -> None:
    store, clock, archive = bench.open(), bench.clock, tmp_path / "archive"
    handles = live_a_day(store, clock)
    store.revoke_everybody(reason="a drill")
    while store.sweep():
        pass
    before = [list(store.history(handle=handle)) for handle in handles]
    clock.advance(RETENTION)
    store.create("dan", ttl=90 * DAY)
    store.compact(retention=RETENTION, archive=archive)
    assert store.verify().cut > before[0][-1].event_id
    assert [list(store.history(handle=one, archive=archive)) for one in handles] == before


def test_an_earlier_head_can_be_checked_again(bench: Bench, tmp_path: Path) -> None:
    store, archive = bench.open(), tmp_path / "archive"
    live_a_day(store, bench.clock)
    head = str(store.head())
    live_a_day(store, bench.clock)
    bench.clock.advance(RETENTION)
    store.compact(retention=RETENTION, archive=archive)
    with pytest.raises(HistoryCut):
        store.verify(expect=head)
    assert store.verify(expect=head, archive=archive).ok
    other = head[:-1] + ("0" if head[-1] != "0" else "1")
    assert not store.verify(expect=other, archive=archive).ok


def drop(line: int) -> Callable[[list[Path]], None]:
    def damage(segments: list[Path]) -> None:
        lines = segments[1].read_bytes().splitlines(keepends=True)
        del lines[line]
        segments[1].write_bytes(b"".join(lines))

    return damage


def swap_lines(segments: list[Path]) -> None:
    lines = segments[1].read_bytes().splitlines(keepends=True)
    lines[1], lines[2] = lines[2], lines[1]
    segments[1].write_bytes(b"".join(lines))


def change(segments: list[Path]) -> None:
    text = segments[1].read_bytes()
    segments[1].write_bytes(text.replace(b'"principal":"bob"', b'"principal":"eve"', 1))


def cut_short(segments: list[Path]) -> None:
    segments[1].write_bytes(segments[1].read_bytes()[:-100])


def remove(segments: list[Path]) -> None:
    segments[1].unlink()


def swap_files(segments: list[Path]) -> None:
    one, other = segments[1].read_bytes(), segments[2].read_bytes()
    segments[1].write_bytes(other)
    segments[2].write_bytes(one)


DAMAGES = {
    "changed": change,
    "without its first event": drop(0),
    "without an event": drop(3),
    "without its last event": drop(-2),
    "without its closing line": drop(-1),
    "reordered": swap_lines,
    "cut short": cut_short,
    "missing": remove,
    "swapped": swap_files,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_segment_is_named(tmp_path: Path, damage: Callable[[list[Path]], None]) -> None:
    clock, archive = Clock(), tmp_path / "archive"
    with SessionStore.open(address("sqlite", tmp_path / "ledger"), clock=clock) as store:
        Story(store, clock, archive)
        segments = sorted(archive.iterdir())
        assert len(segments) == 3
        damage(segments)
        broken = store.verify(archive=archive).broken
        assert broken is not None
        named = [path for path in segments if str(path) in broken.problem]
        # Of two that were swapped, the newer one is looked at first.
        assert named == [segments[2 if damage is swap_files else 1]]
        assert store.verify().ok


@pytest.mark.parametrize("problem", ["missing", "holds other events"])
def test_a_segment_that_is_not_the_right_one_is_named_by_events_and_history(
    tmp_path: Path, problem: str
) -> None:
    clock, archive = Clock(), tmp_path / "archive"
    theirs = Clock()
    with SessionStore.open(address("sqlite", tmp_path / "other"), clock=theirs) as store:
        Story(store, theirs, tmp_path / "another")
    with SessionStore.open(address("sqlite", tmp_path / "ledger"), clock=clock) as store:
        story = Story(store, clock, archive)
        first = min(archive.iterdir())
        # The other ledger lived the same days, so its segments have the same names.
        other = (tmp_path / "another" / first.name).read_bytes()
        first.unlink() if problem == "missing" else first.write_bytes(other)
        for read in (
            lambda: list(store.events(archive=archive)),
            lambda: list(store.history(handle=story.handles[0], archive=archive)),
        ):
            with pytest.raises(CorruptLog, match=rf"{re.escape(first.name)}.*{problem}"):
                read()


def test_what_was_not_archived_is_said(tmp_path: Path) -> None:
    clock, archive = Clock(), tmp_path / "archive"
    with SessionStore.open(address("sqlite", tmp_path / "ledger"), clock=clock) as store:
        assert list(store.events(archive=archive)) == []
        early = live_a_day(store, clock)
        clock.advance(RETENTION)
        cut = store.compact(retention=RETENTION).cut
        with pytest.raises(InvalidSession, match=f"up to {cut}"):
            list(store.events(archive=archive))
        late = live_a_day(store, clock)
        clock.advance(RETENTION)
        told = list(store.history(handle=late[1]))
        store.compact(retention=RETENTION, archive=archive)
        assert store.verify(archive=archive).cut == cut
        assert [e.id for e in store.events(after=cut, archive=archive)][:2] == [cut + 1, cut + 2]
        with pytest.raises(HistoryCut):
            list(store.events(archive=archive))
        with pytest.raises(HistoryCut):
            list(store.history(handle=early[1], archive=archive))
        (page,) = store.history(handle=late[1], archive=archive).pages()
        assert (page.entries, page.cut) == (told, 0)
        (page,) = store.history(principal="bob", archive=archive).pages()
        assert page.cut == cut


def test_a_compaction_while_the_archive_is_read_leaves_nothing_out(tmp_path: Path) -> None:
    clock, archive = Clock(), tmp_path / "archive"
    with SessionStore.open(address("sqlite", tmp_path / "ledger"), clock=clock) as store:
        story = Story(store, clock, archive)
        reading = store.events(archive=archive)
        read = [next(reading)]
        live_a_day(store, clock)
        clock.advance(RETENTION)
        store.compact(retention=RETENTION, archive=archive)
        read += reading
        assert read[: len(story.events)] == story.events
        assert [event.id for event in read] == list(range(1, store.head().id + 1))


def test_another_topic_has_segments_of_its_own_in_the_same_folder(tmp_path: Path) -> None:
    clock, archive, url = Clock(), tmp_path / "archive", address("sqlite", tmp_path / "ledger")
    handles = {}
    for topic in ("orchestrator.sessions", "robots"):
        with SessionStore.open(url, clock=clock, topic=topic) as store:
            handles[topic] = live_a_day(store, clock)
    clock.advance(RETENTION)
    for topic, (handle, *_) in handles.items():
        with SessionStore.open(url, clock=clock, topic=topic) as store:
            events, told = list(store.events()), list(store.history(handle=handle))
            store.compact(retention=RETENTION, archive=archive)
            assert list(store.events(archive=archive))[: len(events)] == events
            assert list(store.history(handle=handle, archive=archive)) == told
            assert store.verify(archive=archive).ok
    assert len(list(archive.iterdir())) == 2
