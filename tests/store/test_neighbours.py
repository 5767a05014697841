"""Whoever gives a bad value is refused alone, though others are committed with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from sessionledger import (
    AsyncSessionStore,
    Change,
    InvalidEvent,
    LogEvent,
    SessionStore,
    Unit,
    open_log,
)
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.fixtures import concurrently
from tests.store.facade import URLS

INNOCENTS = 4
ROUNDS = 30


class Text(str):
    """A text that is not of type `str` itself."""


BAD: dict[str, LogEvent] = {
    "time": LogEvent("k", b"1", {}, 2**70),
    "headers": LogEvent("k", b"1", {"a": 1}, 1),  # type: ignore[dict-item]
    "header of a subclass": LogEvent("k", b"1", {"a": Text("b")}, 1),
    "payload": LogEvent("k", "1", {}, 1),  # type: ignore[arg-type]
    "kind": LogEvent(7, b"1", {}, 1),  # type: ignore[arg-type]
}
TOPICS = [SESSIONS_TOPIC, "another"]


@pytest.fixture(params=URLS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return URLS[request.param](tmp_path / "ledger")


def innocent(store: SessionStore) -> Callable[[], list[int]]:
    return lambda: [store.create("innocent").version for _ in range(ROUNDS)]


def check(store: SessionStore, versions: list[int], others: int = 0) -> None:
    assert len(set(versions)) == len(versions) == store.count(principal="innocent")
    assert store.head().id == len(versions) + others
    assert store.verify().ok


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("event", BAD.values(), ids=BAD)
def test_a_bad_event_among_threads(url: str, event: LogEvent, topic: str) -> None:
    log = open_log(url, durability="normal")
    store = SessionStore(log)

    def guilty() -> list[int]:
        for _ in range(ROUNDS):
            with pytest.raises(InvalidEvent):
                log.append(topic, [Unit([Change(event)])])
        return []

    answers = concurrently(guilty, *[innocent(store)] * INNOCENTS)
    check(store, list(chain(*answers)))
    log.close()


@pytest.mark.parametrize("topic", TOPICS)
@pytest.mark.parametrize("event", BAD.values(), ids=BAD)
def test_a_bad_event_among_tasks(url: str, event: LogEvent, topic: str) -> None:
    async def main() -> list[Any]:
        async with AsyncSessionStore(log) as store:
            bad = [store._engine.log.append(topic, [Unit([Change(event)])]) for _ in range(5)]
            good = [store.create("innocent") for _ in range(ROUNDS)]
            tasks = [*good[:10], *bad, *good[10:]]
            return list(await asyncio.gather(*tasks, return_exceptions=True))

    log = open_log(url, durability="normal")
    outcomes = asyncio.run(main())
    assert [type(one) for one in outcomes[10:15]] == [InvalidEvent] * 5
    check(SessionStore(log), [one.version for one in outcomes[:10] + outcomes[15:]])
    log.close()


def test_a_context_of_another_text_among_threads(url: str) -> None:
    """It counts as the text that it is."""
    with SessionStore.open(url, durability="normal") as store:
        given = {"a": Text("b"), Text("c"): "d"}

        def create() -> list[int]:
            return [store.create("eve", context=given).version for _ in range(ROUNDS)]

        eves, *answers = concurrently(create, *[innocent(store)] * INNOCENTS)
        check(store, list(chain(*answers)), others=len(eves))
        assert next(iter(store.history(principal="eve"))).context == {"a": "b", "c": "d"}
