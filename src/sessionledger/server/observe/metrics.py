"""Counts and durations of requests, in memory that all workers share, as Prometheus reads them.

Each worker counts in a block of its own, and every worker answers the sum of all. So no counter
goes back when another worker answers, or when a worker was replaced.
"""

from __future__ import annotations

import mmap
import platform
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from sessionledger import Stats, __version__
from sessionledger.server.service.limits import LIMITS
from sessionledger.server.service.shared_counts import SharedCounts

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
STATUSES = {int(status): cell for cell, status in enumerate(HTTPStatus)}
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BUCKETS_AT = len(STATUSES)
_SUM_AT = _BUCKETS_AT + len(BUCKETS) + 1
_CELLS = _SUM_AT + 1
_DOUBLE = 8

_REQUESTS = "sessionledger_http_requests_total"
_SECONDS = "sessionledger_http_request_duration_seconds"
_STREAMS = "sessionledger_event_streams"
_UNAVAILABLE = "sessionledger_unavailable_total"
_LIMITED = "sessionledger_rate_limited_total"
_DROPPED = "sessionledger_log_lines_dropped_total"
_BUILD = "sessionledger_build_info"
_OTHERS = {_STREAMS: "gauge", _UNAVAILABLE: "counter", _DROPPED: "counter"}
_SUFFIXES = {"By": "_bytes", "s": "_seconds", "{event}": "_events", "{topic}": "_topics"}

# What each metric is, for whoever finds it in Prometheus or Grafana.
_HELP = {
    _REQUESTS: "HTTP requests answered, by route and status.",
    _SECONDS: "How long HTTP requests took, by route.",
    _STREAMS: "Streams of events that are open now.",
    _UNAVAILABLE: "Requests answered with 503.",
    _LIMITED: "Requests that a limit refused, by limit.",
    _DROPPED: "Lines of the log that were dropped because nobody read standard error.",
    _BUILD: "Always 1. The labels say which version runs, and on which Python.",
    "sessionledger_log_events": "Events of the topic that were not removed.",
    "sessionledger_sessions": "Sessions that the ledger knows, by state.",
    "sessionledger_consumer_lag_events": "Events that the slowest consumer has yet to read.",
    "sessionledger_maintenance_failed": "1 if the last round of maintenance failed.",
    "sessionledger_log_size_bytes": "Size of the whole ledger.",
    "sessionledger_cache_rows": "Sessions that this worker answers from memory.",
    "sessionledger_cache_misses": "Reads that this worker could not answer from memory.",
    "sessionledger_cache_staleness_seconds": "Age of the answers from memory.",
    "sessionledger_cache_unconfirmed_topics": "Topics that can't be answered from memory now.",
    "sessionledger_log_oldest_event_timestamp_seconds": "When the oldest event left happened.",
    "sessionledger_compaction_timestamp_seconds": "When events were last removed.",
    "sessionledger_maintenance_timestamp_seconds": "When the last round of maintenance began.",
}


class RequestMetrics:
    """The blocks of all workers. Make it before the workers are forked: they share its memory.

    subjects: how many requests each one made, for limits.
    """

    def __init__(self, routes: Sequence[str], workers: int = 1) -> None:
        self._routes = {route: number for number, route in enumerate(routes)}
        others = (*_OTHERS, *LIMITS)
        self._block = len(routes) * _CELLS + len(others)
        self._at = {name: self._block - number for number, name in enumerate(others, start=1)}
        self._workers = workers
        self.subjects = SharedCounts(len(LIMITS), workers)
        self._cells = memoryview(mmap.mmap(-1, self._block * workers * _DOUBLE)).cast("d")
        self._start = 0

    def count_as(self, worker: int) -> None:
        """Count for this worker, in this process, from here on."""
        self._start = worker * self._block
        self.subjects.count_as(worker)
        self.set_streams(0)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        at, cells = self._start + self._routes[route] * _CELLS, self._cells
        cells[at + STATUSES[status]] += 1
        cells[at + _BUCKETS_AT + bisect_left(BUCKETS, seconds)] += 1
        cells[at + _SUM_AT] += seconds
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            cells[self._start + self._at[_UNAVAILABLE]] += 1

    def set_streams(self, count: int) -> None:
        """How many streams this worker has open."""
        self._cells[self._start + self._at[_STREAMS]] = count

    def count_dropped(self, lines: int) -> None:
        """Count lines that this worker could not write down."""
        self._cells[self._start + self._at[_DROPPED]] += lines

    def count_limited(self, limit: str) -> None:
        """Count a request that a limit refused."""
        self._cells[self._start + self._at[limit]] += 1

    def limited(self) -> int:
        """How many requests limits have refused, in all workers."""
        return int(sum(self._total(self._at[limit]) for limit in LIMITS))

    def exposition(self, stats: Stats | None) -> bytes:
        """All metrics, in the text format of Prometheus; stats: of the ledger, where known."""
        lines = [] if stats is None else _ledger_lines(stats)
        return "\n".join([*self._lines(), *lines, ""]).encode()

    def _lines(self) -> Iterator[str]:
        yield from _head(_REQUESTS, "counter")
        for route, number in self._routes.items():
            for status, cell in STATUSES.items():
                if count := self._total(number * _CELLS + cell):
                    yield f'{_REQUESTS}{{route="{route}",status="{status}"}} {count:.0f}'
        yield from _head(_SECONDS, "histogram")
        for route, number in self._routes.items():
            yield from self._histogram(route, number * _CELLS)
        yield from _head(_LIMITED, "counter")
        for limit in LIMITS:
            yield f'{_LIMITED}{{limit="{limit}"}} {self._total(self._at[limit]):.0f}'
        for name, kind in _OTHERS.items():
            yield from (*_head(name, kind), f"{name} {self._total(self._at[name]):.0f}")
        yield from _head(_BUILD, "gauge")
        yield f'{_BUILD}{{version="{__version__}",python="{platform.python_version()}"}} 1'

    def _histogram(self, route: str, at: int) -> Iterator[str]:
        counts = [self._total(at + _BUCKETS_AT + bucket) for bucket in range(len(BUCKETS) + 1)]
        if not any(counts):
            return
        below = 0.0
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
            below += count
            yield f'{_SECONDS}_bucket{{route="{route}",le="{bound}"}} {below:.0f}'
        yield f'{_SECONDS}_sum{{route="{route}"}} {self._total(at + _SUM_AT):.6f}'
        yield f'{_SECONDS}_count{{route="{route}"}} {below:.0f}'

    def _total(self, cell: int) -> float:
        return sum(self._cells[worker * self._block + cell] for worker in range(self._workers))


def _head(name: str, kind: str) -> tuple[str, str]:
    return f"# HELP {name} {_HELP[name]}", f"# TYPE {name} {kind}"


def _ledger_lines(stats: Stats) -> Iterator[str]:
    before = ""
    for figure, unit, state, value in stats.figures():
        suffix = _SUFFIXES.get(unit, "")
        name = f"sessionledger_{figure.replace('.', '_').removesuffix(suffix)}{suffix}"
        if name != before:
            yield from _head(name, "gauge")
        before, label = name, f'{{state="{state}"}}' if state else ""
        yield f"{name}{label} {value:.15g}"
