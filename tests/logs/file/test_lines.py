"""Events as lines: exactly the reference's, and read again whatever became of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import StoredEvent
from sessionledger.logs.file import lines

WRITTEN = sorted((Path(__file__).parents[2] / "data/parity/logs").glob("*/log/log/topics/*.jsonl"))
HANDLE = "sha256:v1:" + "a" * 64

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
stored = st.builds(
    StoredEvent,
    id=st.integers(1, 10**9),
    kind=texts,
    payload=st.sampled_from([b"{}", b"null", b'{"a":["\\n",1e16]}', '{"é":"\u2028"}'.encode()]),
    headers=st.dictionaries(texts, texts, max_size=3),
    occurred_at_ms=st.integers(-(2**63), 2**63 - 1),
)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.stem)
def test_the_reference_s_lines_are_written_byte_for_byte(path: Path) -> None:
    last = 0
    for line in path.read_bytes().splitlines(keepends=True):
        ((start, _, told),) = lines.pieces_of(line[:-1], last)
        assert start == 0
        assert lines.encode(told) == line
        last = told.id
    assert last > 0


@given(stored)
def test_a_line_is_read_as_it_was_written(told: StoredEvent) -> None:
    line = lines.encode(told)
    assert line.count(b"\n") == 1
    assert list(lines.pieces_of(line[:-1], told.id - 1)) == [(0, line[:-1], told)]
    assert lines.event_of(line[:-1], 0) == told


@given(stored, st.integers(0, 10**9))
def test_ids_only_grow(told: StoredEvent, after: int) -> None:
    read = lines.event_of(lines.encode(told)[:-1], after)
    assert read.id == (told.id if told.id > after else after + 1)


def test_an_id_that_nobody_can_have_given_is_not_believed() -> None:
    line = lines.encode(StoredEvent(10**30, "k", b"1", {}, 0))
    assert lines.event_of(line[:-1], 7).id == 8


@given(stored, st.data())
def test_what_is_no_line_any_more_is_kept_whole(told: StoredEvent, data: st.DataObject) -> None:
    line = lines.encode(told)[:-1]
    cut = line[: data.draw(st.integers(0, len(line) - 1))]
    damaged = lines.event_of(cut, 4)
    assert (damaged.id, damaged.payload, damaged.headers) == (5, cut.rstrip(), {})
    assert damaged.kind in ("", told.kind)


def test_the_kind_that_can_be_seen_is_kept() -> None:
    line = lines.encode(StoredEvent(3, "session_expired", b'{"a":1}', {}, 0))
    assert lines.event_of(line[:-5], 2).kind == "session_expired"
    assert lines.event_of(line[:25], 2).kind == ""
    # That of something inside is not taken for it.
    inner = b'{"id":3,"evXnt":{"kind":"a"}}'
    assert lines.event_of(inner, 2).kind == ""


@given(st.lists(stored, min_size=1, max_size=4), st.integers(0, 200))
def test_what_was_glued_to_a_torn_line_is_taken_apart(told: list[StoredEvent], length: int) -> None:
    torn = lines.encode(StoredEvent(1, "kind", b'{"a":1}', {}, 0))[:-1]
    torn = torn[: min(length, len(torn) - 1)]
    glued = b"".join(lines.encode(one)[:-1] for one in told)
    read = [(start, one.kind, one.payload) for start, _, one in lines.pieces_of(torn + glued, 0)]
    offsets = [
        len(torn) + sum(len(lines.encode(o)) - 1 for o in told[:n]) for n in range(len(told))
    ]
    whole = [(start, one.kind, one.payload) for start, one in zip(offsets, told, strict=True)]
    assert read[-len(told) :] == whole
    assert len(read) == len(told) + bool(torn)


def test_a_line_within_a_payload_is_no_event_of_its_own() -> None:
    inner = lines.encode(StoredEvent(9, "session_expired", b"{}", {}, 0))[:-1]
    line = lines.encode(StoredEvent(1, "k", b'{"a":' + inner + b"}", {}, 0))[:-1]
    assert [one.kind for _, _, one in lines.pieces_of(line, 0)] == ["k"]
    assert len(list(lines.pieces_of(line[:-1], 0))) == 1


def test_a_line_that_nests_too_deep_is_one_damaged_event() -> None:
    deep = b'{"token_handle":"%b","a":%b}' % (HANDLE.encode(), b"[" * 100_000 + b"]" * 100_000)
    (piece,) = lines.pieces_of(lines.encode(StoredEvent(1, "k", deep, {}, 0))[:-1], 0)
    assert piece[2].kind == "k"
    assert HANDLE.encode() in piece[2].payload


def test_places_in_units() -> None:
    def place(text: str) -> tuple[int, int]:
        return lines.unit_of(StoredEvent(1, "k", b"1", {"sessionledger.unit": text}, 0))

    assert place("2/3") == (2, 3)
    for odd in ("", "3/2", "0/2", "a/b", "1/2/3", "-1/2", "1" * 30 + "/" + "1" * 30):
        assert place(odd) == (1, 1)
