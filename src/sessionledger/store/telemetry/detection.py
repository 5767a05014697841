"""Whether a store is measured, which is decided once, when it is opened.

Measured stores and logs have classes of their own, so those that are not measured pay nothing.
"""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING

from sessionledger.logs.base import Log
from sessionledger.store.telemetry.protocol import SILENT, Telemetry

if TYPE_CHECKING:
    from sessionledger.store.telemetry.opentelemetry import OpenTelemetry


def telemetry_of(log: Log, topic: str) -> Telemetry:
    """What measures a store on this topic."""
    # An application that set up an SDK has imported the API; otherwise nobody needs it.
    if "opentelemetry" not in sys.modules:
        return SILENT
    measuring = _opentelemetry()
    if measuring is None or not measuring.is_heard():
        return SILENT
    return measuring.of(log, topic)


@cache
def _opentelemetry() -> type[OpenTelemetry] | None:
    """How to measure, where the extra `otel` is installed; imported here and nowhere earlier."""
    try:
        from sessionledger.store.telemetry.opentelemetry import OpenTelemetry
    except ImportError:
        return None
    return OpenTelemetry
