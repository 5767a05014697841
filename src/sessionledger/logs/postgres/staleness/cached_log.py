"""The PostgreSQL log of a caller who allows answers from a short time ago."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sessionledger.logs import chain, units
from sessionledger.logs.arguments import check_name
from sessionledger.logs.base import Appended, Description, KeyState, Outcome, Progress, Unit
from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.log import PostgresLog
from sessionledger.logs.postgres.pool import Pool
from sessionledger.logs.postgres.staleness.tail import Tail


class CachedPostgresLog(PostgresLog):
    """A log whose `state` may answer what was true up to `max_staleness` seconds ago.

    Everything else, and what decides a write, is read from the primary.
    """

    def __init__(
        self,
        max_staleness: float,
        url: str,
        *,
        durability: str,
        timeout: float,
        pool_size: int | None,
    ) -> None:
        self._max_staleness = max_staleness
        super().__init__(url, durability=durability, timeout=timeout, pool_size=pool_size)

    def _begin(self) -> None:
        super()._begin()
        pool = Pool(self._connecting, 1, self._check_open)
        self._tail = Tail(pool, self._max_staleness, self.timeout, self._folds)
        self._caches = self._tail.caches
        self._misses = 0

    def after_fork_in_child(self) -> None:
        self._tail.pool.begin_in_child()
        super().after_fork_in_child()

    def kept(self, topic: str, key: bytes) -> KeyState | None:
        cache = self._caches.get(topic)
        return None if cache is None else cache.find(key)

    def state(self, topic: str, key: bytes) -> KeyState | None:
        cache = self._caches.get(topic) if isinstance(topic, str) else None
        found = None if cache is None else cache.find(key)
        return self.states(topic, (key,))[key] if found is None else found

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        cache = self._tail.follow(check_name("topic", topic))
        generation = cache.generation
        self._misses += 1
        lines = self._select(queries.STATES_TO_KEEP, (list(keys), topic))
        if not all(line[0] for line in lines):
            return super().states(topic, keys)
        found: dict[bytes, KeyState] = {line[4]: line[1:4] for line in lines if line[4] is not None}
        for head, headers in {line[5:] for line in lines}:
            hash = chain.decode_headers(headers or "").get(chain.HASH_HEADER)
            cache.offer(generation, head, hash, found)
        return dict.fromkeys(keys) | found

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        keys: Collection[bytes] | None = None
        newest = 0
        try:
            outcomes = super().append(topic, batch, until)
            written = [one for one in outcomes if isinstance(one, Appended)]
            newest = max((id for one in written for id in one.ids), default=0)
            keys = self._touched(topic, batch, written)
            return outcomes
        finally:
            self._wrote(topic, keys, newest)

    def _touched(
        self, topic: str, batch: Sequence[Unit], written: Sequence[Appended]
    ) -> Collection[bytes] | None:
        """The keys that a batch concerns; None if it also has an event that concerns no key."""
        fold = self._folds.get(topic)
        bare = [change.event for one in batch for change in one.changes if change.put is None]
        if any(fold is None or fold.key(event) is None for event in bare):
            return None
        ruled = {row.key for one in written for row, _ in one.ruled}
        return ruled.union(units.keys_of(batch, fold))

    def rebuild(self, topic: str, progress: Progress | None = None) -> int:
        try:
            return super().rebuild(topic, progress)
        finally:
            self._wrote(topic, None, 0)

    def _wrote(self, topic: str, keys: Collection[bytes] | None, newest: int) -> None:
        cache = self._caches.get(topic)
        if cache is not None:
            cache.wrote(keys, newest)

    def describe(self) -> Description:
        told, caches = super().describe(), list(self._caches.values())
        ages = [age for cache in caches if (age := cache.age()) is not None]
        told.details["max_staleness_ms"] = round(self._max_staleness * 1000)
        told.details["cached_rows"] = sum(map(len, caches))
        told.details["cache_misses"] = self._misses
        told.details["staleness_ms"] = max(ages, default=0) // 1_000_000
        told.details["unconfirmed_topics"] = len(caches) - len(ages)
        if self._tail.problem:
            told.details["confirming_failed"] = self._tail.problem
        return told

    def _close(self) -> None:
        super()._close()
        self._tail.stop()
        self._caches.clear()
