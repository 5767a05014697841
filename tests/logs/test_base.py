"""The events that a log is given: JSON and nothing else."""

from __future__ import annotations

import pytest

from sessionledger import InvalidEvent, LogEvent, StoredEvent


@pytest.mark.parametrize("value", [float("nan"), "\ud800", {1: 2}, object()])
def test_an_event_holds_json_only(value: object) -> None:
    with pytest.raises(InvalidEvent):
        LogEvent.of("kind", value)


@pytest.mark.parametrize("value", [None, 2**70, 0.1, "ä", [], {"b": [1], "a": {"c": None}}])
def test_the_value_of_an_event_is_what_it_was_made_of(value: object) -> None:
    assert LogEvent.of("kind", value).value == value


def test_a_payload_that_is_no_json_has_no_value() -> None:
    for event in (LogEvent("kind", b"{", {}, 0), StoredEvent(1, "kind", b"\xff", {}, 0)):
        with pytest.raises(ValueError, match="JSON"):
            assert event.value
