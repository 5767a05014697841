"""Counts and durations of requests, in memory that all workers share, as Prometheus reads them.

Each worker counts in a block of its own, and every worker answers the sum of all. So no counter
goes back when another worker answers, or when a worker was replaced.
"""

from __future__ import annotations

import mmap
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from http import HTTPStatus

from sessionledger import Stats
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
_SUFFIXES = {"By": "_bytes", "s": "_seconds"}
_DROPPED = "sessionledger_log_lines_dropped_total"


class RequestMetrics:
    """The blocks of all workers. Make it before the workers are forked: they share its memory.

    subjects: how many requests each one made, for limits.
    """

    def __init__(self, routes: Sequence[str], workers: int = 1) -> None:
        self._routes = {route: number for number, route in enumerate(routes)}
        self._streams_at = len(routes) * _CELLS
        self._dropped_at = self._streams_at + 1
        self._unavailable_at = self._dropped_at + 1
        self._limited_at = self._unavailable_at + 1
        self._block = self._limited_at + len(LIMITS)
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
            cells[self._start + self._unavailable_at] += 1

    def set_streams(self, count: int) -> None:
        """How many streams this worker has open."""
        self._cells[self._start + self._streams_at] = count

    def count_dropped(self, lines: int) -> None:
        """Count lines that this worker could not write down."""
        self._cells[self._start + self._dropped_at] += lines

    def count_limited(self, limit: str) -> None:
        """Count a request that a limit refused."""
        self._cells[self._start + self._limited_at + [*LIMITS].index(limit)] += 1

    def exposition(self, stats: Stats | None) -> bytes:
        """All metrics, in the text format of Prometheus; stats: of the ledger, where known."""
        lines = [] if stats is None else _ledger_lines(stats)
        return "\n".join([*self._lines(), *lines, ""]).encode()

    def _lines(self) -> Iterator[str]:
        yield f"# TYPE {_REQUESTS} counter"
        for route, number in self._routes.items():
            for status, cell in STATUSES.items():
                if count := self._total(number * _CELLS + cell):
                    yield f'{_REQUESTS}{{route="{route}",status="{status}"}} {count:.0f}'
        yield f"# TYPE {_SECONDS} histogram"
        for route, number in self._routes.items():
            yield from self._histogram(route, number * _CELLS)
        yield f"# TYPE {_STREAMS} gauge"
        yield f"{_STREAMS} {self._total(self._streams_at):.0f}"
        yield f"# TYPE {_UNAVAILABLE} counter"
        yield f"{_UNAVAILABLE} {self._total(self._unavailable_at):.0f}"
        yield f"# TYPE {_LIMITED} counter"
        for number, limit in enumerate(LIMITS):
            yield f'{_LIMITED}{{limit="{limit}"}} {self._total(self._limited_at + number):.0f}'
        yield f"# TYPE {_DROPPED} counter"
        yield f"{_DROPPED} {self._total(self._dropped_at):.0f}"

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


def _ledger_lines(stats: Stats) -> Iterator[str]:
    before = ""
    for figure, unit, state, value in stats.figures():
        name = f"sessionledger_{figure.replace('.', '_')}{_SUFFIXES.get(unit, '')}"
        if name != before:
            yield f"# TYPE {name} gauge"
        before, label = name, f'{{state="{state}"}}' if state else ""
        yield f"{name}{label} {value:.15g}"
