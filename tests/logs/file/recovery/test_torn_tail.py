"""What the end of a file is worth: what is torn goes, what is whole stays, units are whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import StoredEvent
from sessionledger.logs.file import lines
from sessionledger.logs.file.recovery import torn_tail
from sessionledger.logs.file.recovery.torn_tail import Repair

UNIT = "sessionledger.unit"


def text_of(*sizes: int, note: str = "") -> tuple[bytes, list[int]]:
    """Units of so many events, and where each ends."""
    text, ends, id = b"", [], 0
    for size in sizes:
        for number in range(1, size + 1):
            id += 1
            headers = {UNIT: f"{number}/{size}"} if size > 1 else {}
            text += lines.encode(StoredEvent(id, "k", b'"%b"' % note.encode(), headers, 0))
        ends.append(len(text))
    return text, ends


def worth(text: bytes, start: int = 0) -> Repair:
    return torn_tail.repair_of(lambda begin, end: text[begin:end], start, len(text))


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


def test_complete_lines_stay_whatever_they_hold() -> None:
    text = text_of(2)[0] + b"rubbish\n\n  \n"
    assert worth(text) == Repair(len(text), lacks_newline=False)


def test_half_a_unit_that_others_appended_to_stays() -> None:
    half = text_of(3)[0].splitlines(keepends=True)[0]
    text = half + text_of(1)[0]
    assert worth(text) == Repair(len(text), lacks_newline=False)


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
