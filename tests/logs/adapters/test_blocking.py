"""An asynchronous log behind plain calls: its loop, its end, and what goes wrong in between."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from sessionledger import Change, InvalidEvent, LogUnavailable, StoreClosed, Unit
from sessionledger.logs.adapters.blocking import BlockingLog
from sessionledger.logs.adapters.committing_thread import LoopLog
from sessionledger.logs.base import AsyncLog
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.fixtures import PATIENCE, TOPIC, add, event, every_event, together


async def connect() -> AsyncLog:
    return LoopLog(MemoryLog())


def loops() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "sessionledger-loop"]


def test_its_thread_ends_with_it() -> None:
    before = loops()
    log = BlockingLog(connect)
    assert len(loops()) == len(before) + 1
    log.close()
    log.close()
    assert loops() == before


def test_a_connection_that_fails_leaves_no_thread() -> None:
    async def fail() -> AsyncLog:
        raise LogUnavailable("nobody is there")

    before = loops()
    with pytest.raises(LogUnavailable, match="nobody"):
        BlockingLog(fail)
    assert loops() == before


def test_errors_reach_who_called() -> None:
    log = BlockingLog(connect)
    with pytest.raises(InvalidEvent):
        log.read("")
    assert add(log, [event()]) == (1,)
    log.close()
    with pytest.raises(StoreClosed):
        log.append(TOPIC, [Unit([Change(event())])])


def test_closing_ends_every_wait() -> None:
    log = BlockingLog(connect)
    waiting = threading.Semaphore(0)

    def wait() -> Any:
        waiting.release()
        with pytest.raises(StoreClosed):
            log.wait(TOPIC, 0, PATIENCE)

    def close() -> None:
        for _ in range(3):
            assert waiting.acquire(timeout=PATIENCE)
        log.close()

    together(close, wait, wait, wait)


def test_many_threads_close_it_once() -> None:
    log = BlockingLog(connect)
    together(*[log.close] * 8)
    with pytest.raises(StoreClosed):
        log.topics()


def test_threads_append_at_the_same_time() -> None:
    log = BlockingLog(connect)
    together(*(partial(add, log, [event(n=n)]) for n in range(16)))
    assert sorted(one.value["n"] for one in every_event(log)) == list(range(16))
    log.close()
