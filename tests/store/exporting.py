"""What the real SDK exports of the stores of this process, kept in memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from opentelemetry import metrics, trace
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    HistogramDataPoint,
    InMemoryMetricReader,
    Metric,
    NumberDataPoint,
)
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

DELTA = AggregationTemporality.DELTA


class Exporting:
    """The providers of a process can be set once: what is told begins anew with `begin`."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader({Counter: DELTA, Histogram: DELTA})
        self._spans = InMemorySpanExporter()
        tracers = TracerProvider()
        tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        metrics.set_meter_provider(MeterProvider([self._reader]))
        trace.set_tracer_provider(tracers)
        self._metrics: dict[str, Metric] = {}
        self._text = ""

    def begin(self) -> None:
        """Forget what was told until now."""
        self._spans.clear()
        self._reader.get_metrics_data()

    def collect(self) -> None:
        """Export what was measured since."""
        data = self._reader.get_metrics_data()
        self._metrics, self._text = {}, ""
        if data is not None:
            scopes = [scope for all_of in data.resource_metrics for scope in all_of.scope_metrics]
            self._metrics = {one.name: one for scope in scopes for one in scope.metrics}
            self._text = data.to_json()

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """By name, those that were told anything."""
        return self._metrics

    def points(self, name: str, **labels: str) -> Iterator[HistogramDataPoint | NumberDataPoint]:
        """The points of a metric that have these labels, `_` written for `.`."""
        wanted = {label.replace("_", "."): value for label, value in labels.items()}
        for point in self._metrics[name].data.data_points if name in self._metrics else ():
            attributes = dict(point.attributes or {})
            if wanted.items() <= attributes.items():
                assert isinstance(point, HistogramDataPoint | NumberDataPoint)
                yield point

    def total(self, name: str, **labels: str) -> int:
        """The sum of a counter's points; how many times a histogram was told."""
        found = self.points(name, **labels)
        return sum(int(p.count if isinstance(p, HistogramDataPoint) else p.value) for p in found)

    def spans(self) -> list[ReadableSpan]:
        """Those that ended, in order."""
        return list(self._spans.get_finished_spans())

    def text(self) -> str:
        """All that was exported."""
        return self._text + "".join(span.to_json() for span in self.spans())
