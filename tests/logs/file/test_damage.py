"""Any bit of a ledger may flip: nothing that was ended lives, and somebody is told."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from unittest.mock import patch

import msgspec
import pytest

from sessionledger import (
    Appended,
    Change,
    Conflict,
    CorruptLog,
    IssuedSession,
    LogEvent,
    LogUnavailable,
    SessionLedgerError,
    SessionStore,
    Unit,
    diagnose,
)
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Expired, Touched
from sessionledger.core.token import key_of
from sessionledger.logs.base import Draft, Put
from sessionledger.logs.file import FileLog
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.clock import Clock
from tests.logs.file.locations import durable_file, opened, sessions_file, url_of
from tests.tiers import is_thorough

# Of the copies that the tests write, and of their clock.
EXPECTED = {"open_to_others", "event_from_future"}
BEGAN = datetime(2030, 1, 1, tzinfo=UTC)


class Ledger(msgspec.Struct):
    """A ledger as it was written: its files, and which tokens are over and which live."""

    files: dict[str, bytes]
    ended: list[IssuedSession]
    live: list[IssuedSession]
    now: datetime

    def put_down(self, root: Path, harmed: str = "", text: bytes = b"") -> None:
        """Write the ledger, with another content of one file."""
        shutil.rmtree(root, ignore_errors=True)
        for name, content in (self.files | ({harmed: text} if harmed else {})).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)

    def store(self, root: Path) -> SessionStore:
        log = FileLog(root, sync=lambda file: None)
        return SessionStore(log, clock=Clock(self.now), on_error=lambda error: None)


@pytest.fixture(scope="module", params=["whole", "compacted"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """Sessions that ended in each way there is, and some that live."""
    root, clock = tmp_path_factory.mktemp("damage") / "ledger", Clock(BEGAN)
    with closing(FileLog(root)) as log:
        store = SessionStore(log, clock=clock)
        ended = [store.create("mallory"), store.create("mallory")]
        store.revoke_everybody(reason="stolen keys")
        if request.param == "compacted":
            store.sweep()
        issued = [store.create("alice", attributes={"record": {"n": n}}) for n in range(6)]
        signed_out, revoked, rotated, *two, selected = issued
        store.touch(signed_out.token, attributes={"token_handle": "x"})
        store.expire(signed_out.token, reason="bye")
        store.revoke(handle=revoked.handle, actor=issued[0].handle)
        replaced = store.rotate(rotated.token)
        assert replaced is not None
        parent = store.create("bob", attributes={"role": "robot"})
        child = store.create("bob", parent=parent.token)
        store.expire(parent.token)
        store.patch(selected.token, {"colour": "red"})
        store.revoke_where(attributes={"colour": "red"})
        log.ack(SESSIONS_TOPIC, "mailer", 3)
        clock.advance(timedelta(minutes=10))
        if request.param == "compacted":
            clock.advance(timedelta(days=3))
            log.ack(SESSIONS_TOPIC, "mailer", 12)
        store.touch(two[0].token)
        if request.param == "compacted":
            assert store.compact(retention=timedelta(days=2)).cut == 12
        live = [replaced, *two, store.create("carol")]
        ended += [signed_out, revoked, rotated, parent, child, selected]
        assert all(store.get(one.token) is None for one in ended)
        assert all(store.get(one.token) is not None for one in live)
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return Ledger(files, ended, live, clock())


@pytest.fixture(autouse=True)
def _nothing_is_flushed() -> Iterator[None]:
    with patch.object(os, "fsync", lambda file: None):
        yield


def check(ledger: Ledger, root: Path, what: object) -> bool:
    """Nothing lives that was ended, no error is another's; whether somebody tells of the damage."""
    try:
        with ledger.store(root) as store:
            told = [answers_wrongly(store, one, lives=False) for one in ledger.ended]
            told += [answers_wrongly(store, one, lives=True) for one in ledger.live]
            for call in calls(store, ledger):
                with suppress(SessionLedgerError):
                    call()
            told += [not store.verify().ok]
            assert store.get(store.create("dave").token) is not None
    except (CorruptLog, LogUnavailable):
        told = [True]
    told += [one.code not in EXPECTED for one in diagnose(url_of(root))]
    return any(told)


def answers_wrongly(store: SessionStore, issued: IssuedSession, *, lives: bool) -> bool:
    """Whether a read does not answer what it should, or raises. It never shows what was ended."""
    try:
        found = store.get(issued.token)
    except CorruptLog:
        return True
    assert lives or found is None, f"{issued.principal}'s session is back"
    return lives != (found is not None)


def calls(store: SessionStore, ledger: Ledger) -> list[Callable[[], object]]:
    one = ledger.ended[0]
    return [
        lambda: list(store.sessions(state="all")),
        lambda: list(store.history(handle=one.handle)),
        lambda: store.as_of(handle=one.handle, at=BEGAN),
        lambda: store.authenticate(ledger.live[0].token),
        lambda: store.count(principal="alice"),
        store.stats,
        store.rebuild,
        store.diagnose,
        lambda: list(store.events()),
    ]


def flip(text: bytes, bit: int) -> bytes:
    harmed = bytearray(text)
    harmed[bit // 8] ^= 1 << bit % 8
    return bytes(harmed)


def try_bits(ledger: Ledger, root: Path, name: str, bits: Iterator[int] | range) -> None:
    for bit in bits:
        ledger.put_down(root, name, flip(ledger.files[name], bit))
        told = check(ledger, root, (name, bit))
        # What is published and cursors have a check or are read by nobody here.
        assert told or not name.startswith("topics"), (name, bit)


def test_the_ledger_is_sound_before_that(ledger: Ledger, root: Path) -> None:
    ledger.put_down(root)
    assert not check(ledger, root, None)


def test_any_of_some_bits_may_flip(ledger: Ledger, root: Path) -> None:
    random = Random(1)
    for name, content in ledger.files.items():
        if content:
            count = 20 if name.startswith("topics") else 5
            try_bits(ledger, root, name, iter(random.choices(range(8 * len(content)), k=count)))


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_any_bit_may_flip(ledger: Ledger, root: Path, part: int) -> None:
    # One bit of each byte. All of them take ten minutes of a processor.
    start, step = (part, 8) if is_thorough() else (9 * part, 64)
    for name, content in ledger.files.items():
        try_bits(ledger, root, name, range(start, 8 * len(content), step))


@pytest.mark.middle
def test_any_line_may_be_gone_or_cut_or_overwritten(ledger: Ledger, root: Path) -> None:
    name = f"topics/{SESSIONS_TOPIC}.jsonl"
    lines = ledger.files[name].splitlines(keepends=True)
    for number, line in enumerate(lines):
        before, behind = b"".join(lines[:number]), b"".join(lines[number + 1 :])
        zeros = b"\0" * 40 + line[40:]
        for harmed in (b"", line[:40], zeros, b"\0" * len(line), b"\n" * len(line)):
            if harmed or behind:
                ledger.put_down(root, name, before + harmed + behind)
                assert check(ledger, root, (number, harmed))
                # As it is after a copy was put back: nobody knows what was acknowledged.
                (root / "durable" / SESSIONS_TOPIC).unlink()
                sessions_file(root).write_bytes(before + harmed + behind)
                told = check(ledger, root, (number, harmed))
                assert told or not behind


def test_a_copy_of_an_earlier_line_shows_that_nothing_lives(ledger: Ledger, root: Path) -> None:
    name, signed_out = f"topics/{SESSIONS_TOPIC}.jsonl", ledger.ended[2].handle.encode()
    lines = ledger.files[name].splitlines(keepends=True)
    *_, touch, end = [n for n, line in enumerate(lines) if b'"token_handle":"' + signed_out in line]
    lines[end] = b"\0" * (len(lines[end]) - 1) + b"\n"
    ledger.put_down(root, name, b"".join([*lines[:-1], lines[touch], *lines[-1:]]))
    assert check(ledger, root, touch)


@pytest.fixture(scope="module", params=[False, True], ids=["end", "end-and-touch"])
def ending(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """A ledger whose last event, or the one before it, ends a session."""
    root = tmp_path_factory.mktemp("ending") / "ledger"
    with closing(FileLog(root)) as log:
        store = SessionStore(log, clock=Clock(BEGAN))
        ended, touched, idle = (store.create("alice") for _ in range(3))
        store.touch(touched.token, attributes={"a": 1})
        store.expire(ended.token, reason="x" * 400)
        if request.param:
            store.touch(touched.token, attributes={"a": 2})
    files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
    return Ledger(files, [ended], [touched, idle], BEGAN)


def test_the_last_lines_may_be_gone_or_be_one_or_be_copies(ending: Ledger, root: Path) -> None:
    """No line follows that would tell how many there were."""
    name = f"topics/{SESSIONS_TOPIC}.jsonl"
    text, lines = ending.files[name], ending.files[name].splitlines(keepends=True)
    end = text.index(b'"kind":"session_expired"')
    handle = text.index(ending.ended[0].handle.encode(), end)
    line = text.rindex(b'{"id":', 0, end)
    blanks = [text[:line] + filling * (len(text) - line) for filling in (b"\n", b" ", b"\0")]
    merged = [
        text[: handle + 20] + filling * (last - handle - 20) + text[last:]
        for last in (text.rindex(b'"event"'), text.rindex(b'"headers"'))
        for filling in (b"\0", b"x")
        if last > handle
    ]
    copies = [text[:line] + copied + text[line + len(copied) :] for copied in lines[:4]]
    copies += [
        b"".join(lines[:-1]) + one[:-1].ljust(len(lines[-1]) - 1) + b"\n" for one in lines[:4]
    ]
    for number, harmed in enumerate([*blanks, *merged, *copies]):
        ending.put_down(root, name, harmed[: len(text) - 1] + b"\n")
        for _ in range(3):
            # The first time somebody appends to it, the second time others read that.
            assert check(ending, root, number), number
        with opened(root) as log:
            ids = [one.id for one in log.read(SESSIONS_TOPIC)]
        assert ids == sorted(set(ids))


def test_they_are_missed_too_where_nobody_has_appended_since_a_crash(
    ending: Ledger, root: Path
) -> None:
    name = f"topics/{SESSIONS_TOPIC}.jsonl"
    ending.put_down(root)
    durable_file(root, SESSIONS_TOPIC).unlink()
    with ending.store(root) as store:
        assert store.verify().ok
    text = ending.files[name]
    line = text.rindex(b'{"id":', 0, text.index(b'"kind":"session_expired"'))
    sessions_file(root).write_bytes(text[:line] + b"\n" * (len(text) - line))
    assert check(ending, root, line)


@pytest.mark.middle
def test_sectors_may_be_lost_or_be_those_of_another_place(ledger: Ledger, root: Path) -> None:
    name, random = f"topics/{SESSIONS_TOPIC}.jsonl", Random(2)
    text = ledger.files[name]
    for _ in range(400):
        size = random.choice([1, 9, 100, 512, 1024])
        at = random.randrange(len(text) - size)
        line = text.index(b'{"id":', random.randrange(len(text) // 2))
        others = (bytes(size), random.randbytes(size), text[line : line + size], b"")
        harmed = text[:at] + random.choice(others) + text[at + size :]
        if harmed != text:
            ledger.put_down(root, name, harmed)
            assert check(ledger, root, harmed)


def test_a_session_in_doubt_raises_and_can_be_ended(ledger: Ledger, root: Path) -> None:
    name = f"topics/{SESSIONS_TOPIC}.jsonl"
    text, revoked = ledger.files[name], ledger.ended[3]
    end = text.rindex(revoked.handle.encode()) + 20
    ledger.put_down(root, name, flip(text, 8 * end))
    idle, seen = ledger.live[2], ledger.live[1]
    with ledger.store(root) as store:
        for one in (revoked, idle):
            with pytest.raises(CorruptLog, match="sessionledger verify"):
                store.get(one.token)
        # It was seen after the event that is lost, so that was not its end.
        assert store.get(seen.token) is not None
        assert idle.handle not in [one.handle for one in store.sessions()]
        store.revoke(handle=idle.handle)
        assert store.get(idle.token) is None
        assert "chain_broken" in [one.code for one in store.diagnose()]
    with ledger.store(root) as store:
        assert store.get(idle.token) is None
        with pytest.raises(CorruptLog):
            store.get(revoked.token)


def test_no_touch_of_a_raw_log_brings_a_session_in_doubt_back(ledger: Ledger, root: Path) -> None:
    name = f"topics/{SESSIONS_TOPIC}.jsonl"
    text, revoked, idle = ledger.files[name], ledger.ended[3], ledger.live[2]
    ledger.put_down(root, name, flip(text, 8 * (text.rindex(revoked.handle.encode()) + 20)))
    with ledger.store(root) as store:
        log, key = store._log, key_of(revoked.handle)
        assert key is not None
        row = log.row(SESSIONS_TOPIC, key)
        assert row is not None
        seen = LogEvent(*encode_event(Touched(None, None, ledger.now, revoked.handle)), {}, 0)
        other = LogEvent("note", b"{}", {}, 0)
        live = Put(key, Draft("mallory", 1 << 60, True, b"{}"), row.version)
        units = [
            Unit((Change(seen),)),
            Unit((Change(seen, live),)),
            Unit((Change(other),), reads=((key, row.version),)),
        ]
        before = log.latest(SESSIONS_TOPIC)
        assert [type(one) for one in log.append(SESSIONS_TOPIC, units)] == [Conflict] * 3
        assert log.latest(SESSIONS_TOPIC) == before
        over = LogEvent(*encode_event(Expired(ledger.now, idle.handle, "revoked")), {}, 0)
        (told,) = log.append(SESSIONS_TOPIC, [Unit((Change(over),))])
        assert isinstance(told, Appended)
    for _ in range(2):
        with ledger.store(root) as store:
            assert store.get(idle.token) is None
            with pytest.raises(CorruptLog):
                store.get(revoked.token)


def test_a_mark_ends_what_is_in_doubt_and_is_lifted(ledger: Ledger, root: Path) -> None:
    name = f"topics/{SESSIONS_TOPIC}.jsonl"
    text, revoked, idle = ledger.files[name], ledger.ended[3], ledger.live[2]
    ledger.put_down(root, name, flip(text, 8 * (text.rindex(revoked.handle.encode()) + 20)))
    with ledger.store(root) as store:
        store.revoke_everybody()
        assert store.get(idle.token) is store.get(revoked.token) is None
        assert store.sweep() > 0
        assert store._log.mark(SESSIONS_TOPIC) == 0
    for _ in range(2):
        with ledger.store(root) as store:
            assert store.get(idle.token) is store.get(revoked.token) is None
            assert store.sweep() == 0
            store.rebuild()


@pytest.mark.parametrize("ledger", ["compacted"], indirect=True)
def test_what_is_in_doubt_stays_so_when_its_events_are_removed(ledger: Ledger, root: Path) -> None:
    name = f"topics/{SESSIONS_TOPIC}.jsonl"
    revoked, idle, seen = ledger.ended[3], ledger.live[2], ledger.live[1]
    text = ledger.files[name]
    ledger.put_down(root, name, flip(text, 8 * (text.rindex(revoked.handle.encode()) + 20)))
    later = msgspec.structs.replace(ledger, now=ledger.now + timedelta(days=3))
    with later.store(root) as store, later.store(root) as other:
        for one in (store, other):
            with pytest.raises(CorruptLog):
                one.get(idle.token)
        head = store.head().id
        store._log.ack(SESSIONS_TOPIC, "mailer", head)
        with pytest.raises(CorruptLog, match="accept the break"):
            store.compact(retention=timedelta(days=2))
        assert store.compact(retention=timedelta(days=2), accept_break=head).cut == head
        with later.store(root) as fresh:
            for one in (store, other, fresh):
                for doubted in (revoked, idle):
                    with pytest.raises(CorruptLog):
                        one.get(doubted.token)
                assert one.get(seen.token) is not None
                assert "row_differs" not in [found.code for found in one.diagnose()]


def test_other_processes_find_it_when_they_catch_up(ledger: Ledger, root: Path) -> None:
    """A line is checked when it is first read, and not only when a ledger is opened."""
    ledger.put_down(root)
    idle = ledger.live[2]
    with ledger.store(root) as store:
        assert store.get(idle.token) is not None
        with ledger.store(root) as other:
            other.expire(idle.token)
        text = sessions_file(root).read_bytes()
        sessions_file(root).write_bytes(flip(text, 8 * (text.rindex(idle.handle.encode()) + 20)))
        with pytest.raises(CorruptLog):
            store.get(idle.token)
        assert durable_file(root, SESSIONS_TOPIC).exists()
