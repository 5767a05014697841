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
from functools import lru_cache
from hashlib import blake2b
from typing import NamedTuple

SETS, WAYS = 8192, 8
WINDOW_SECONDS = 60
_CACHED = 4096
_BITS = 20
_MASK = (1 << _BITS) - 1
_BOTH = (1 << 2 * _BITS) - 1
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
        self.size = kinds * sets * self._entries * 16  # two numbers of 64 bits
        self._cells = memoryview(mmap.mmap(-1, self.size)).cast("Q")
        self._own = range(WAYS)
        self._place = lru_cache(_CACHED)(self._place_of)

    def count_as(self, worker: int) -> None:
        """Count for this worker, in this process, from here on."""
        self._own = range(worker * WAYS, (worker + 1) * WAYS)

    def take(self, kind: int, subject: str, limit: int) -> Count:
        """Count a request, unless the subject made as many in the last minute as it may.

        limit: up to 1,000,000, since a count has 20 bits.
        """
        start, tag = self._place(kind, subject)
        cells, states = self._cells, start + self._entries
        tags = cells[start:states].tolist()
        now = self._monotonic() / WINDOW_SECONDS
        window = int(now)
        passed = now - window
        total = own = 0
        mine, at = -1, -1
        for _ in range(tags.count(tag)):
            at = tags.index(tag, at + 1)
            counts = _counts(cells[states + at], window)
            total += counts
            if at in self._own:
                mine, own = at, counts
        is_new = mine < 0
        if is_new:
            mine, own = self._smallest(states, window)
            total += own
        before, within = total >> _BITS, total & _MASK
        left = int(limit - within - before * (1 - passed))
        if left < 1:
            return Count(0, _seconds_to_wait(before, within, limit, passed), is_refused=True)
        cells[states + mine] = window << 2 * _BITS | own + 1
        if is_new:
            cells[start + mine] = tag
        return Count(left - 1, (1 - passed) * WINDOW_SECONDS, False)

    def _smallest(self, states: int, window: int) -> tuple[int, int]:
        """This worker's entry with the fewest requests, and its counts."""
        of = {at: _counts(self._cells[states + at], window) for at in self._own}
        at = min(of, key=lambda one: (of[one] >> _BITS) + (of[one] & _MASK))
        return at, of[at]

    def _place_of(self, kind: int, subject: str) -> tuple[int, int]:
        """Where the set of a subject begins, and the tag of the subject there."""
        digest = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret)
        number = int.from_bytes(digest.digest(), "little")
        of = kind * self._sets + (number >> 64) % self._sets
        return of * self._entries * 2, number & _TAG | 1  # an empty entry is 0


def _counts(state: int, window: int) -> int:
    """The requests of the minute before this one, above `_BITS` bits with those in this one.

    So one addition adds both. The lower ones stay within their bits: the limit keeps them there.
    """
    then = state >> 2 * _BITS
    if then == window:
        return state & _BOTH
    return (state & _MASK) << _BITS if then == window - 1 else 0


def _seconds_to_wait(before: int, now: int, limit: int, passed: float) -> float:
    """How long until one more request is within the limit, if no other one is made."""
    if now < limit:
        # Enough of the minute before has to slide out of the window.
        share = 1 - (limit - 1 - now) / before - passed
    else:
        share = 1 - passed + 1 - (limit - 1) / now
    return share * WINDOW_SECONDS
