"""Files that were damaged: altered, cut, doubled, glued. Only whom a damage concerns notices."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sessionledger import Change, CorruptLog, LogEvent, SessionStore, Unit
from sessionledger.core.token import digest, handle_of
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.file.recovery.durable_offset import Published
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import TOPIC, add, event, every_event
from tests.logs import bare_file
from tests.logs.file.locations import durable_file, opened, sessions_file, store_on, topic_file
from tests.tiers import examples

TOKENS = [f"a token that is long enough, number {n}" for n in range(3)]
LIVE, ENDED, TOUCHED = TOKENS
CONCERNS = {LIVE: {0}, ENDED: {1, 4}, TOUCHED: {2, 3}}
"""The lines of each session."""

quick = settings(examples(80), suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The events of a session that lives, one that was ended, and one that was touched."""
    root = tmp_path_factory.mktemp("sessions") / "ledger"
    with store_on(root) as store:
        for token in TOKENS:
            store.create("alice", token=token)
        store.touch(TOUCHED, attributes={"kind": "x", "n": [1, 2]}, context={"kind": "y"})
        store.expire(ENDED, reason="stolen")
        store.create("bob")
    return sessions_file(root).read_bytes()


def place(root: Path, text: bytes) -> None:
    """A ledger of these events, of which nothing is published: all has to be looked at."""
    shutil.rmtree(root, ignore_errors=True)
    (root / "topics").mkdir(parents=True)
    sessions_file(root).write_bytes(text)


def place_acknowledged(root: Path, text: bytes) -> None:
    """A ledger of these events, all of which were acknowledged."""
    place(root, text)
    disk = Disk(root)
    disk.make()
    disk.publish(SESSIONS_TOPIC, Published(len(text), len(text), 0, len(text)))


def check_works(root: Path) -> None:
    """Nothing raises, ids increase, sessions come and stay, and it is the same when read again."""
    with store_on(root) as store:
        ids = [one.id for one in store.events()]
        assert ids == sorted(set(ids))
        assert all(id > 0 for id in ids)
        issued = store.create("carol")
        assert issued.version > max(ids, default=0)
        before = list(store.sessions(state="all"))
        assert [len(list(store.history(handle=s.handle))) > 0 for s in before] == [True] * len(
            before
        )
        store.rebuild()
        assert list(store.sessions(state="all")) == before
        seen = list(store.events())
    with store_on(root) as store:
        assert list(store.sessions(state="all")) == before
        assert list(store.events()) == seen
        assert store.get(issued.token) is not None


def the_handles(text: bytes) -> set[int]:
    """Where handles stand in the lines of sessions that were begun before.

    If such a handle is damaged, nobody knows whose it was.
    """
    places = set[int]()
    for token in (TOUCHED, ENDED):
        handle = handle_of(digest(token)).encode()
        begin = text.rindex(handle)
        places |= set(range(begin - 2, begin + len(handle) + 1))
    # Nor is it known of a line without its id.
    begins = [0, *(at + 1 for at, byte in enumerate(text) if byte == ord("\n"))]
    return places | {at + n for at in begins for n in range(len('{"id":1,'))}


def is_there(store: SessionStore, token: str, *, in_doubt: bool = False) -> bool:
    """Whether a session lives. One that is in doubt raises."""
    try:
        return store.get(token) is not None
    except CorruptLog:
        return in_doubt


@quick
@given(st.data())
def test_any_byte_may_change(root: Path, text: bytes, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(text) - 1))
    changed = bytearray(text)
    changed[index] ^= data.draw(st.integers(1, 255))
    place_acknowledged(root, bytes(changed))
    check_works(root)
    line = text.count(b"\n", 0, index)
    with store_on(root) as store:
        in_doubt = index in the_handles(text)
        assert not is_there(store, ENDED)
        for token in (LIVE, TOUCHED):
            assert line in CONCERNS[token] or is_there(store, token, in_doubt=in_doubt)
        assert not store.verify().ok


@pytest.mark.slow
def test_any_byte_of_the_end_may_change_in_any_way(root: Path, text: bytes) -> None:
    begin = text.rindex(b'{"id":5')
    for index in range(begin, text.index(b"\n", begin) + 1):
        for value in {0, 10, 32, 34, 92, 123, 125, 255, text[index] ^ 1} - {text[index]}:
            place_acknowledged(root, text[:index] + bytes([value]) + text[index + 1 :])
            with store_on(root) as store:
                assert not is_there(store, ENDED), (index, value)
                assert is_there(store, LIVE, in_doubt=index in the_handles(text))


@quick
@given(st.data())
def test_it_may_be_cut_anywhere(root: Path, text: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(text)))
    place(root, text[:cut])
    with store_on(root) as store:
        events = [one.id for one in store.events()]
        # An event that lacks nothing but the end of its line is whole.
        assert events == list(range(1, text[: cut + 1].count(b"\n") + 1))
        assert store.verify().ok
    check_works(root)


@quick
@given(st.data())
def test_a_torn_line_swallows_nothing_that_is_appended_to_it(
    root: Path, text: bytes, data: st.DataObject
) -> None:
    begin = text.rindex(b'{"id":5')
    end = text[begin:].splitlines(keepends=True)[0]
    cut = data.draw(st.integers(0, begin))
    torn = text[:cut]
    place(root, torn + end)
    check_works(root)
    with store_on(root) as store:
        assert not is_there(store, ENDED)
        line = torn.count(b"\n")
        # The lines between are lost, and each may have been its end.
        assert line == 0 or is_there(store, LIVE, in_doubt=True)


@quick
@given(st.lists(st.integers(0, 5), min_size=6, max_size=12))
def test_lines_may_be_doubled_and_moved(root: Path, text: bytes, order: list[int]) -> None:
    lines = text.splitlines(keepends=True)
    place(root, b"".join(lines[index] for index in order))
    check_works(root)
    with store_on(root) as store:
        assert len(list(store.events())) == len(order) + 1
        if 4 in order and 1 in order[: order.index(4)]:
            assert not is_there(store, ENDED)


@pytest.mark.parametrize(
    "rubbish", [b"\n", b"\n\n \n", b"rubbish\n", b"\0" * 4096 + b"\n", b"{}\n"]
)
def test_lines_of_anything_stop_nobody(root: Path, text: bytes, rubbish: bytes) -> None:
    first, rest = text.split(b"\n", 1)
    place(root, rubbish + first + b"\n" + rubbish + rest + rubbish)
    check_works(root)
    with store_on(root) as store:
        assert store.get(ENDED) is None
        assert store.get(LIVE) is not None
        assert store.get(TOUCHED) is not None


# Below what was published nothing is cut, and nobody goes on without it.


@pytest.fixture
def five(root: Path) -> bytes:
    """A ledger of five events that were acknowledged, and the text of its file."""
    with opened(root) as log:
        add(log, [event(bytes([n]), n=n) for n in range(5)])
    return topic_file(root).read_bytes()


@pytest.mark.parametrize("kept", [0, 1, 3])
def test_a_file_that_was_cut_is_refused_and_left(root: Path, five: bytes, kept: int) -> None:
    text = b"".join(five.splitlines(keepends=True)[:kept])
    topic_file(root).write_bytes(text)
    with opened(root) as log:
        for refused in (
            lambda: add(log, [event()]),
            lambda: log.latest(TOPIC),
            lambda: log.rows(TOPIC),
        ):
            with pytest.raises(CorruptLog, match="durable"):
                refused()
    assert topic_file(root).read_bytes() == text


def test_a_file_that_is_gone_is_missed(root: Path, five: bytes) -> None:
    topic_file(root).unlink()
    with opened(root) as log:
        with pytest.raises(CorruptLog):
            log.latest(TOPIC)
        with pytest.raises(CorruptLog):
            add(log, [event()])
        assert add(log, [event()], "another") == (1,)


def test_what_is_left_is_taken_once_it_is_said(root: Path, five: bytes) -> None:
    """As the error says: restored from a copy, and without its folder `durable`."""
    topic_file(root).write_bytes(b"".join(five.splitlines(keepends=True)[:3]))
    shutil.rmtree(root / "durable")
    with opened(root) as log:
        assert log.latest(TOPIC) == 3
        assert add(log, [event()]) == (4,)


def test_what_is_not_whole_is_cut_only_beyond_it(root: Path, five: bytes) -> None:
    with topic_file(root).open("ab") as file:
        file.write(b'{"id":6,"event":{"ki')
    with opened(root) as log:
        assert log.latest(TOPIC) == 5
        assert topic_file(root).read_bytes() == five
        assert add(log, [event()]) == (6,)


@pytest.mark.parametrize("record", [b"", b"rubbish", b"0" * 200])
def test_a_published_offset_that_is_lost_costs_nothing(
    root: Path, five: bytes, record: bytes
) -> None:
    durable_file(root).write_bytes(record)
    with opened(root) as log:
        assert log.latest(TOPIC) == 5
        assert add(log, [event()]) == (6,)
    with opened(root) as log:
        assert log.latest(TOPIC) == 6


def test_an_older_offset_is_made_good(root: Path, five: bytes) -> None:
    """As after a loss of power: it is never flushed."""
    older = durable_file(root).read_bytes()
    with opened(root) as log:
        add(log, [event()])
    durable_file(root).write_bytes(older)
    with opened(root) as log:
        assert log.latest(TOPIC) == 6
    assert durable_file(root).read_bytes() != older


# While it is open.


def test_a_file_that_is_cut_while_it_is_open_is_refused(root: Path, five: bytes) -> None:
    with opened(root) as log:
        assert log.count(TOPIC) == 5
        topic_file(root).write_bytes(b"".join(five.splitlines(keepends=True)[:3]))
        for _ in range(2):
            with pytest.raises(CorruptLog, match="cut"):
                log.row(TOPIC, bytes([4]))


def replace(path: Path, text: bytes) -> None:
    """Put another file in its place, as editors do."""
    path.with_name("new").write_bytes(text)
    path.with_name("new").replace(path)


def test_a_file_that_is_replaced_by_an_older_one_is_refused(root: Path, five: bytes) -> None:
    with opened(root) as log:
        assert log.count(TOPIC) == 5
        shutil.rmtree(root / "durable")
        (root / "durable").mkdir()
        replace(topic_file(root), b"".join(five.splitlines(keepends=True)[:4]))
        for _ in range(2):
            with pytest.raises(CorruptLog):
                log.latest(TOPIC)
            with pytest.raises(CorruptLog):
                add(log, [event()])


def test_a_file_that_is_replaced_by_another_history_is_refused(
    root: Path, five: bytes, tmp_path: Path
) -> None:
    with opened(tmp_path / "other") as other:
        add(other, [event(bytes([n]), "mallory", n=n) for n in range(9)])
    with opened(root) as log:
        assert log.count(TOPIC) == 5
        replace(topic_file(root), topic_file(tmp_path / "other").read_bytes())
        for _ in range(2):
            with pytest.raises(CorruptLog, match="lacks event 5"):
                log.rows(TOPIC)


def test_a_file_that_is_replaced_by_its_copy_goes_on(root: Path, five: bytes) -> None:
    with opened(root) as log:
        before = log.rows(TOPIC)
        replace(topic_file(root), five)
        assert log.rows(TOPIC) == before
        assert every_event(log)[-1].id == 5
        assert add(log, [event()]) == (6,)


def test_a_ledger_that_is_copied_into_place_goes_on(
    root: Path, five: bytes, tmp_path: Path
) -> None:
    with opened(root) as log:
        assert log.latest(TOPIC) == 5
        shutil.copytree(root, tmp_path / "copy")
        shutil.rmtree(root)
        shutil.move(tmp_path / "copy", root)
        with opened(root) as other:
            assert add(other, [event(b"k")]) == (6,)
            assert log.row(TOPIC, b"k") is not None
            assert add(log, [event()]) == (7,)
            assert other.latest(TOPIC) == 7


# Units


def half_a_unit(root: Path, of: int, kept: int) -> bytes:
    """A file that ends with so many of the events of a unit, and what stands before."""
    with opened(root) as log:
        add(log, [event(n=0)])
        before = topic_file(root).read_bytes()
        log.append(TOPIC, [Unit([Change(event(bytes([n]), n=n)) for n in range(of)])])
    lines = topic_file(root).read_bytes().splitlines(keepends=True)
    topic_file(root).write_bytes(b"".join(lines[: 1 + kept]))
    shutil.rmtree(root / "durable")
    return before


@pytest.mark.parametrize("kept", [1, 2])
def test_half_a_unit_is_cut(root: Path, kept: int) -> None:
    before = half_a_unit(root, of=3, kept=kept)
    with opened(root) as log:
        assert log.latest(TOPIC) == 1
        assert log.count(TOPIC) == 0
        assert topic_file(root).read_bytes() == before
        assert add(log, [event()]) == (2,)


def test_a_unit_that_lacks_only_a_line_end_is_whole(root: Path) -> None:
    half_a_unit(root, of=3, kept=3)
    text = topic_file(root).read_bytes()
    topic_file(root).write_bytes(text[:-1])
    with opened(root) as log:
        assert log.count(TOPIC) == 3
        assert topic_file(root).read_bytes() == text


def test_half_a_unit_that_the_reference_appended_to_stays(root: Path) -> None:
    half_a_unit(root, of=3, kept=1)
    bare_file.append(root, TOPIC, [event(n=9)])
    with opened(root) as log:
        assert [one.id for one in every_event(log)] == [1, 2, 3]
        assert log.count(TOPIC) == 1


# Events whose kind is not ours any more


def altered(text: bytes) -> bytes:
    return text.replace(b'"kind":"session_expired"', b'"kind":"session_expirex"')


def test_an_end_whose_kind_was_altered_stays_an_end(root: Path, text: bytes) -> None:
    place(root, altered(text))
    with store_on(root) as store:
        assert store.get(ENDED) is None
        history = list(store.history(handle=handle_of(digest(ENDED))))
        assert [one.readable for one in history] == [True, False]
        assert store.get(LIVE) is not None


def test_a_stranger_s_event_of_another_kind_ends_nothing(root: Path) -> None:
    with store_on(root) as store:
        issued = store.create("alice")
        note = LogEvent.of("note", {"about": issued.handle})
        store._log.append(SESSIONS_TOPIC, [Unit([Change(note)])])
        bare_file.append(root, SESSIONS_TOPIC, [note])
        assert store.get(issued.token) is not None
        assert len(list(store.history(handle=issued.handle))) == 1
    with store_on(root) as store:
        assert store.get(issued.token) is not None
