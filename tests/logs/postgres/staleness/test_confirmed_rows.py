"""The cache of one topic, without a server. `test_model.py` walks its rules in every order."""

from __future__ import annotations

from collections import OrderedDict

from sessionledger.logs.base import KeyState
from sessionledger.logs.postgres.staleness.confirmed_rows import (
    MAX_STATE_BYTES,
    MOST_BEHIND,
    ConfirmedRows,
    Passed,
    Round,
)

K = b"k"
ROW: KeyState = (1, 9, b"")
BOUND = 10


class Clocks:
    boot = wall = 0


def confirmed(clocks: Clocks, *events: Passed, max_rows: int = 3) -> ConfirmedRows:
    """A cache whose tail is at the last of these events, and has confirmed it at 0."""
    cache = ConfirmedRows(BOUND, lambda: clocks.boot, lambda: clocks.wall, max_rows)
    last = events[-1] if events else Passed(1, "1", K)
    assert cache.advance(Round((0, 0), last.id, None, [last]))
    return cache


def kept(clocks: Clocks) -> ConfirmedRows:
    cache = confirmed(clocks)
    cache.offer(cache.generation, 1, "1", {K: ROW})
    assert cache.find(K) == ROW
    return cache


def test_a_row_answers_within_the_bound_by_both_clocks() -> None:
    clocks = Clocks()
    cache = kept(clocks)
    for clocks.boot, clocks.wall in ((0, 0), (10, 10), (10, 0), (0, 10)):
        assert cache.find(K) == ROW
    for clocks.boot, clocks.wall in ((11, 0), (0, 11), (-1, 5), (5, -1)):
        assert cache.find(K) is None


class Interrupted(OrderedDict[bytes, KeyState]):
    """Rows of which the process is stopped right after one was looked up. When it goes on, the tail
    comes first, and drops the row."""

    def __init__(self, cache: ConfirmedRows, clocks: Clocks) -> None:
        super().__init__(cache._rows)
        self._cache, self._clocks = cache, clocks

    def get(self, key: bytes, default: object = None) -> KeyState | None:  # type: ignore[override]
        found = super().get(key)
        self._clocks.boot = self._clocks.wall = 100
        ended = [Passed(1, "1", None), Passed(2, "2", key)]
        assert self._cache.advance(Round((100, 100), 2, None, ended))
        return found


def test_a_process_that_is_stopped_amid_a_lookup_does_not_answer_what_it_held() -> None:
    clocks = Clocks()
    cache = kept(clocks)
    cache._rows = Interrupted(cache, clocks)
    assert cache.find(K) is None


def test_the_oldest_row_makes_room() -> None:
    clocks = Clocks()
    cache = confirmed(clocks)
    for number in range(5):
        cache.offer(cache.generation, 1, "1", {bytes([number]): ROW})
    assert [cache.find(bytes([number])) for number in range(5)] == [None, None, ROW, ROW, ROW]
    assert len(cache) == 3


def test_a_large_row_is_not_kept() -> None:
    cache = confirmed(Clocks())
    large: KeyState = (1, 9, bytes(MAX_STATE_BYTES + 1))
    cache.offer(cache.generation, 1, "1", {K: large, b"small": ROW})
    assert cache.find(K) is None
    assert cache.find(b"small") == ROW


def test_a_row_is_kept_once_the_cursor_reaches_its_event() -> None:
    cache = confirmed(Clocks())
    cache.offer(cache.generation, 3, "3", {K: ROW})
    assert cache.find(K) is None
    assert not cache.advance(Round((0, 0), 3, None, [Passed(1, "1", K), Passed(2, "2", K)]))
    assert cache.find(K) is None
    assert cache.advance(Round((0, 0), 3, None, [Passed(2, "2", K), Passed(3, "3", b"o")]))
    assert cache.find(K) == ROW


def test_nothing_is_kept_while_the_newest_event_has_no_hash() -> None:
    cache = confirmed(Clocks(), Passed(1, None, K))
    cache.offer(cache.generation, 1, None, {K: ROW})
    assert cache.find(K) is None
    assert not cache.advance(Round((0, 0), 1, None, [Passed(1, None, K)]))


def test_a_cursor_that_is_far_behind_begins_again_at_the_head() -> None:
    cache = kept(Clocks())
    far = 3 + MOST_BEHIND
    assert not cache.advance(Round((0, 0), far, None, [Passed(1, "1", K), Passed(2, "2", b"o")]))
    assert cache.cursor == 0
    assert cache.find(K) is None
    assert cache.advance(Round((0, 0), far, None, [Passed(far, "far", K)]))


def test_an_event_that_is_not_there_any_more_confirms_nothing() -> None:
    for events in ([], [Passed(1, "other", K)], [Passed(2, "2", K)]):
        cache = kept(Clocks())
        assert not cache.advance(Round((0, 0), 2, None, events))
        assert cache.find(K) is None
        assert cache.age() is None
