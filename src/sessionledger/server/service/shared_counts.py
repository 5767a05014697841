"""How many requests each subject made in the last minute, in memory that all workers share.

1. A worker writes only to cells of its own, and reads those of all. So no lock is needed that a
   killed worker could keep. No count is lost, and a replaced worker's counts go on.
2. Workers that decide at the same moment do not see each other's request: each may let one more in.
3. The memory is fixed. Where a set is full, a new subject takes the entry with the smallest count,
   and the count with it. So nobody gets rid of a count by pushing it out with other subjects.
4. The hash is keyed with a secret. So nobody can choose with whom a subject shares its set.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable
from hashlib import blake2b
from typing import NamedTuple

SETS, WAYS = 8192, 8
WINDOW_SECONDS = 60
_CELL = 8
_BITS = 20
_MASK = (1 << _BITS) - 1
_TAG = (1 << 64) - 1


class Count(NamedTuple):
    """Where a subject stands. left: how many requests it may still make now.

    seconds: until a refused one may come again; otherwise until the quota begins to come back.
    """

    left: int
    seconds: float
    is_refused: bool


class SharedCounts:
    """Counts of several kinds. Make it before the workers are forked: they share its memory.

    Each kind has sets of entries, and each worker some entries in each set. An entry is the tag of
    a subject, and one number: the minute, the requests of the minute before, and those in it. A
    sliding window adds both; of the minute before, it counts the share that it still covers.
    """

    def __init__(
        self,
        kinds: int,
        workers: int = 1,
        sets: int = SETS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._monotonic = monotonic
        self._secret = os.urandom(32)
        self._sets = sets
        self._entries = WAYS * workers
        self.size = kinds * sets * self._entries * 2 * _CELL
        self._cells = memoryview(mmap.mmap(-1, self.size)).cast("Q")
        self._own = range(WAYS)

    def count_as(self, worker: int) -> None:
        """Count for this worker, in this process, from here on."""
        self._own = range(worker * WAYS, (worker + 1) * WAYS)

    def take(self, kind: int, subject: str, limit: int) -> Count:
        """Count a request, unless the subject made as many in the last minute as it may.

        limit: up to 1,000,000, since a count has 20 bits.
        """
        digest = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret)
        number = int.from_bytes(digest.digest(), "little")
        start = (kind * self._sets + (number >> 64) % self._sets) * self._entries * 2
        cells = self._cells[start : start + self._entries * 2].tolist()
        tag = number & _TAG | 1  # an empty entry is 0
        window, elapsed = divmod(self._monotonic(), WINDOW_SECONDS)
        return self._take(start, cells, tag, limit, int(window), elapsed / WINDOW_SECONDS)

    def _take(
        self, start: int, cells: list[int], tag: int, limit: int, window: int, passed: float
    ) -> Count:
        """Add up the entries of all workers, and count the request in one of this worker's."""
        entries, own = self._entries, self._own
        found = [entry for entry in range(entries) if cells[entry] == tag]
        mine = next((entry for entry in found if entry in own), None)
        if mine is None:
            mine = min(own, key=lambda one: _weight(cells[entries + one], window, passed))
            found.append(mine)
        before = now = 0
        for entry in found:
            told = _counts(cells[entries + entry], window)
            before, now = before + told[0], now + told[1]
        left = int(limit - now - before * (1 - passed))
        if left < 1:
            return Count(0, _seconds_to_wait(before, now, limit, passed), is_refused=True)
        told = _counts(cells[entries + mine], window)
        self._cells[start + entries + mine] = (
            window << 2 * _BITS | told[0] << _BITS | min(told[1] + 1, _MASK)
        )
        self._cells[start + mine] = tag
        return Count(left - 1, (1 - passed) * WINDOW_SECONDS, is_refused=False)


def _counts(state: int, window: int) -> tuple[int, int]:
    """The requests of the minute before this one, and those in this one."""
    then = state >> 2 * _BITS
    if then == window:
        return state >> _BITS & _MASK, state & _MASK
    return (state & _MASK, 0) if then == window - 1 else (0, 0)


def _weight(state: int, window: int, passed: float) -> float:
    before, now = _counts(state, window)
    return now + before * (1 - passed)


def _seconds_to_wait(before: int, now: int, limit: int, passed: float) -> float:
    """How long until one more request is within the limit, if no other one is made."""
    if now < limit:
        # Enough of the minute before has to slide out of the window.
        share = 1 - (limit - 1 - now) / before - passed
    else:
        share = 1 - passed + 1 - (limit - 1) / now
    return share * WINDOW_SECONDS
