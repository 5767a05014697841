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
        states, tags = start + self._entries, self._cells[start : start + self._entries].tolist()
        now = self._monotonic() / WINDOW_SECONDS
        window, passed = int(now), now % 1
        total = own = (0, 0)
        mine, at = None, -1
        for _ in range(tags.count(tag)):
            at = tags.index(tag, at + 1)
            counts = _counts(self._cells[states + at], window)
            total = (total[0] + counts[0], total[1] + counts[1])
            if at in self._own:
                mine, own = at, counts
        if mine is None:
            of = {one: _counts(self._cells[states + one], window) for one in self._own}
            mine = min(of, key=lambda one: sum(of[one]))
            own = of[mine]
            total = (total[0] + own[0], total[1] + own[1])
        left = int(limit - total[1] - total[0] * (1 - passed))
        if left < 1:
            return Count(0, _seconds_to_wait(*total, limit, passed), is_refused=True)
        self._cells[states + mine] = window << 2 * _BITS | own[0] << _BITS | own[1] + 1
        self._cells[start + mine] = tag
        return Count(left - 1, (1 - passed) * WINDOW_SECONDS, is_refused=False)

    def _place_of(self, kind: int, subject: str) -> tuple[int, int]:
        """Where the set of a subject begins, and the tag of the subject there."""
        digest = blake2b(subject.encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret)
        number = int.from_bytes(digest.digest(), "little")
        of = kind * self._sets + (number >> 64) % self._sets
        return of * self._entries * 2, number & _TAG | 1  # an empty entry is 0


def _counts(state: int, window: int) -> tuple[int, int]:
    """The requests of the minute before this one, and those in this one."""
    then = state >> 2 * _BITS
    if then == window:
        return state >> _BITS & _MASK, state & _MASK
    return (state & _MASK, 0) if then == window - 1 else (0, 0)


def _seconds_to_wait(before: int, now: int, limit: int, passed: float) -> float:
    """How long until one more request is within the limit, if no other one is made."""
    if now < limit:
        # Enough of the minute before has to slide out of the window.
        share = 1 - (limit - 1 - now) / before - passed
    else:
        share = 1 - passed + 1 - (limit - 1) / now
    return share * WINDOW_SECONDS
