"""What the end of a file is worth: what is torn goes, what is whole stays, units are whole."""

from __future__ import annotations

from itertools import accumulate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import LogEvent, StoredEvent
from sessionledger.logs import chain
from sessionledger.logs.chain import EMPTY, Head
from sessionledger.logs.file import lines
from sessionledger.logs.file.recovery import torn_tail
from sessionledger.logs.file.recovery.torn_tail import Known, Repair

UNIT = "sessionledger.unit"
TOPIC = "topic"
KNOWN = Known(TOPIC, EMPTY, is_published=True)
UNKNOWN = KNOWN._replace(is_published=False)


def units_of(*sizes: int, note: str = "", head: Head = EMPTY) -> list[list[bytes]]:
    """The lines of units of so many events, chained."""
    units: list[list[bytes]] = []
    for size in sizes:
        units.append([])
        for number in range(1, size + 1):
            headers = {UNIT: f"{number}/{size}"} if size > 1 else {}
            event = LogEvent("k", b'"%b"' % note.encode(), headers, 0)
            stored = chain.link(TOPIC, event, head.id + 1, head.hash)
            units[-1].append(lines.encode(stored))
            head = chain.head_after(stored)
    return units


def text_of(*sizes: int, note: str = "") -> tuple[bytes, list[int]]:
    """Units of so many events, and where each ends."""
    units = [b"".join(unit) for unit in units_of(*sizes, note=note)]
    return b"".join(units), list(accumulate(map(len, units)))


def foreign(id: int) -> bytes:
    """An event of another program."""
    return lines.encode(StoredEvent(id, "k", b"1", {}, 0))


def worth(text: bytes, start: int = 0, known: Known | None = None) -> Repair:
    if known is None:
        before = text[:start].splitlines()
        head = chain.head_after(lines.event_of(before[-1], 0)) if before else EMPTY
        known = Known(TOPIC, head, is_published=True)
    return torn_tail.repair_of(lambda begin, end: text[begin:end], start, len(text), known)


sizes = st.lists(st.integers(1, 4), max_size=5)


@given(sizes)
def test_whole_units_stay(told: list[int]) -> None:
    text, _ = text_of(*told)
    assert worth(text) == Repair(len(text), lacks_newline=False)


@given(sizes.filter(bool), st.data(), st.sampled_from(["", "x" * 40_000]))
def test_cut_anywhere_what_stays_are_whole_units(
    told: list[int], data: st.DataObject, note: str
) -> None:
    text, ends = text_of(*told, note=note)
    cut = data.draw(st.integers(0, len(text)))
    kept = worth(text[:cut])
    whole = [end for end in ends if end - 1 <= cut]
    expected = whole[-1] if whole else 0
    # Only a line end may be missing: then the event is whole.
    lacks = expected == cut + 1
    assert kept == Repair(expected - lacks, lacks_newline=lacks)


@given(sizes, st.integers(0, 5), st.binary(max_size=30).filter(lambda b: b"\n" not in b))
def test_rubbish_at_the_end_goes(told: list[int], start: int, rubbish: bytes) -> None:
    text, ends = text_of(*told)
    begin = ([0, *ends])[min(start, len(ends))]
    assert worth(text + rubbish, begin) == Repair(len(text), lacks_newline=False)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_the_first_line_that_does_not_continue_the_chain_goes_with_its_unit(
    told: list[int], data: st.DataObject
) -> None:
    units = units_of(*told)
    unit = data.draw(st.integers(0, len(units) - 1))
    line = data.draw(st.integers(0, len(units[unit]) - 1))
    whole = units[unit][line]
    harmed = data.draw(
        st.sampled_from([b"\0" * len(whole), whole[:9] + b"\0" + whole[10:], b"xx\n"])
    )
    units[unit][line] = harmed if harmed.endswith(b"\n") else harmed[:-1] + b"\n"
    kept = sum(len(text) for before in units[:unit] for text in before)
    assert worth(b"".join(text for one in units for text in one)) == Repair(kept, False)


def test_a_line_is_cut_whose_hash_or_predecessor_is_another() -> None:
    first, second, third = (b"".join(unit) for unit in units_of(1, 1, 1))
    assert worth(first + second + third.replace(b'"k"', b'"l"')).end == len(first + second)
    assert worth(first + third).end == len(first)
    assert worth(first + second + second).end == len(first + second)


@pytest.mark.parametrize("known", [KNOWN, UNKNOWN])
def test_what_another_program_appended_is_never_cut(known: Known) -> None:
    first, second = units_of(1, 3)
    for rubbish in (b"\0" * 300 + b"\n", second[0], b"rubbish", second[0] + second[2]):
        text = first[0] + rubbish + foreign(3)
        assert worth(text, known=known) == Repair(len(text), lacks_newline=False)
        # It may have known the chain, and not of the broken line.
        text = first[0] + b'{"id":2,' + second[0] + second[1] + second[2]
        assert worth(text, known=known) == Repair(len(text), lacks_newline=False)


def test_what_may_have_been_acknowledged_is_cut_only_with_the_rest_of_its_unit() -> None:
    first, unit, last = units_of(1, 4, 1)
    rubbish = b"\0" * 100 + b"\n"
    for torn in ([rubbish, *unit[1:]], [unit[0], rubbish, *unit[2:]], [*unit[:3], rubbish]):
        text = b"".join([*first, *torn])
        assert worth(text, known=UNKNOWN) == Repair(len(first[0]), lacks_newline=False)
        text += last[0]
        assert worth(text, known=UNKNOWN) == Repair(len(text), lacks_newline=False)
        assert worth(text, known=KNOWN) == Repair(len(first[0]), lacks_newline=False)


def test_it_continues_the_chain_behind_another_program_s_event() -> None:
    (first,), (second,) = units_of(1, 1)
    (third,) = units_of(1, head=Head(2, None))
    text = first + foreign(2) + third[0]
    assert worth(text) == Repair(len(text), lacks_newline=False)
    assert worth(first + foreign(2) + second).end == len(first + foreign(2))


def test_nothing_before_the_start_is_cut() -> None:
    first, second = text_of(3)[0].splitlines(keepends=True)[:2]
    text = first + second
    assert worth(text, len(first)) == Repair(len(first), lacks_newline=False)
    assert worth(text, len(text)) == Repair(len(text), lacks_newline=False)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_it_is_read_in_blocks(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(torn_tail, "_BLOCK", block)
    text, ends = text_of(1, 3)
    for cut in range(len(text) - 1):
        assert worth(text[:cut]).end == (
            ends[0] if cut >= ends[0] else ends[0] - 1 if cut == ends[0] - 1 else 0
        )
