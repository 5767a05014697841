"""A remote log for event loops, whose server stands still."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from time import monotonic

import pytest

from sessionledger import LogTimeout, StoreClosed
from sessionledger.logs.adapters import threads
from sessionledger.logs.adapters.threads import TRIPS, RemoteLoopLog
from sessionledger.logs.base import KeyState
from sessionledger.logs.concurrency.waiting import until_of_call
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.fixtures import FOLD, PATIENCE, TOPIC, creation, until


class Standing(MemoryLog):
    """A log that answers nobody until it goes on."""

    def __init__(self) -> None:
        super().__init__(timeout=0.1)
        self.goes_on = threading.Event()
        self.asked: list[Sequence[bytes]] = []

    def states(self, topic: str, keys: Sequence[bytes]) -> dict[bytes, KeyState | None]:
        self.asked.append(keys)
        assert self.goes_on.wait(PATIENCE)
        return {key: self.state(topic, key) for key in keys}

    def kept(self, topic: str, key: bytes) -> KeyState | None:
        return None


def test_who_waits_behind_the_trips_of_others_is_told_before_they_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "GRACE_SECONDS", 0.0)

    async def work() -> None:
        log = Standing()
        in_loops = RemoteLoopLog(log, log)
        trips = []
        for number in range(TRIPS):
            trips.append(asyncio.ensure_future(in_loops.state(TOPIC, bytes([number]))))
            while len(log.asked) <= number:
                await asyncio.sleep(0)
        late = [in_loops.state(TOPIC, b"late"), in_loops.state(TOPIC, b"later")]
        async with asyncio.timeout(PATIENCE):
            told = await asyncio.gather(*late, return_exceptions=True)
        assert [type(answer) for answer in told] == [LogTimeout] * 2
        assert not any(trip.done() for trip in trips)
        log.goes_on.set()
        assert await asyncio.gather(*trips) == [None] * TRIPS
        assert await in_loops.state(TOPIC, b"late") is None
        await in_loops.close()

    asyncio.run(work())


def test_a_call_has_what_the_wait_for_a_thread_left_it() -> None:
    class Telling(Standing):
        def cursor(self, topic: str, consumer: str) -> int:
            self.asked.append([])
            assert self.goes_on.wait(PATIENCE)
            return 0

        def topics(self) -> list[str]:
            return [str(until_of_call(1000.0) - monotonic())]

    async def work() -> None:
        log = Telling()
        log.timeout = 1000.0
        in_loops = RemoteLoopLog(log, log)
        begun = monotonic()
        calls = [asyncio.ensure_future(in_loops.cursor(TOPIC, "c")) for _ in range(in_loops.calls)]
        while len(log.asked) < in_loops.calls:
            await asyncio.sleep(0)
        late = asyncio.ensure_future(in_loops.topics())
        await asyncio.sleep(0)
        waited = monotonic()
        while monotonic() < waited + 0.1:
            await asyncio.sleep(0)
        log.goes_on.set()
        await asyncio.gather(*calls)
        left = float((await late)[0])
        assert monotonic() - begun >= 1000.0 - left >= 0.1
        log.timeout = 0.1
        await in_loops.close()

    asyncio.run(work())


def test_a_close_waits_no_longer_than_the_timeout_for_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(threads, "GRACE_SECONDS", 0.0)

    async def work() -> None:
        log = Standing()
        in_loops = RemoteLoopLog(log, log)
        trip = asyncio.ensure_future(in_loops.state(TOPIC, b"key"))
        while not log.asked:
            await asyncio.sleep(0)
        try:
            async with asyncio.timeout(PATIENCE / 2):
                await in_loops.close()
            assert not trip.done()
        finally:
            log.goes_on.set()
        with pytest.raises(StoreClosed):
            await trip

    asyncio.run(work())


def test_a_handful_of_appends_is_sent_while_the_loop_prepares_others() -> None:
    async def work() -> None:
        log = Standing()
        log.fold_with(TOPIC, FOLD)
        in_loops = RemoteLoopLog(log, log)
        units = [[creation(bytes([number]))] for number in range(in_loops.handful + 1)]
        appends = [in_loops.append(TOPIC, of_one) for of_one in units]
        waited_for = [append.send(None) for append in appends]
        until(lambda: log.latest(TOPIC) == in_loops.handful)
        while not all(one.done() for one in waited_for):
            await asyncio.sleep(0)
        assert log.latest(TOPIC) == len(units)
        for append in appends:
            with pytest.raises(StopIteration):
                append.send(None)
        await in_loops.close()

    asyncio.run(work())
