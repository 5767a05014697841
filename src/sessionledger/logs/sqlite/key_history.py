"""The events of a key, page by page, each of which costs its own size.

Links lead back from the newest event. A caller that asks for one page most likely asks for the next
one. So the ids of a key are kept until another key is asked for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias, cast

import apsw

from sessionledger.logs.sqlite import queries

Execute: TypeAlias = Callable[..., apsw.Cursor]
_Walked: TypeAlias = tuple[int, bytes, int, Sequence[int]]


class KeyHistories:
    """The history that was walked last: topic, key, its newest event, and all its ids."""

    def __init__(self) -> None:
        self._walked: _Walked | None = None

    def page(
        self, execute: Execute, number: int, key: bytes, after: int, limit: int
    ) -> Sequence[int]:
        """The ids of a key's events behind one of them, in order, at most so many."""
        ids = self._ids(execute, number, key)
        start = bisect_right(ids, after)
        return ids[start : start + limit]

    def _ids(self, execute: Execute, number: int, key: bytes) -> Sequence[int]:
        found = execute(queries.VERSION_OF_KEY, (number, key)).fetchall()
        version = cast(int, found[0][0]) if found else 0
        walked = self._walked
        if walked is not None and walked[:3] == (number, key, version):
            return walked[3]
        ids = array("q", sorted(id for (id,) in execute(queries.KEY_HISTORY, (key, number))))
        self._walked = (number, key, version, ids)
        return ids
