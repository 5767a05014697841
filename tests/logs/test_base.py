"""The events that a log is given: JSON and nothing else."""

from __future__ import annotations

import pytest

from sessionledger import InvalidEvent, LogEvent


@pytest.mark.parametrize("value", [float("nan"), "\ud800", {1: 2}, object()])
def test_an_event_holds_json_only(value: object) -> None:
    with pytest.raises(InvalidEvent):
        LogEvent.of("kind", value)
