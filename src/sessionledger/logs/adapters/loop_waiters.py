"""Waiting for events in event loops, by one task for all that wait there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

from sessionledger.background import drop_ended, running_loop
from sessionledger.logs.arguments import check_id

Asleep: TypeAlias = dict[asyncio.Future[int], int]


class LoopWaiters:
    """The tasks that wait for events of a log. For each loop and topic, one task looks for all."""

    def __init__(self, latest: Callable[[str], Awaitable[int]], poll: float) -> None:
        """poll: how often to look, in seconds."""
        self._latest = latest
        self._poll = poll
        self._asleep: dict[tuple[asyncio.AbstractEventLoop, str], Asleep] = {}
        self._looking: set[asyncio.Task[None]] = set()
        self._closed = False

    async def wait_above(self, topic: str, after: int, timeout: float | None) -> int:
        """Wait until the newest id is above `after`, at most `timeout` seconds; answer it."""
        after = check_id(after)
        head = await self._latest(topic)
        if head > after or (timeout is not None and timeout <= 0):
            return head
        loop = running_loop()
        waiter: asyncio.Future[int] = loop.create_future()
        timer = None if timeout is None else loop.call_later(timeout, _resolve, waiter, head)
        asleep = self._asleep.get((loop, topic))
        if asleep is None:
            drop_ended(self._asleep)
            asleep = self._asleep[loop, topic] = {}
            task = loop.create_task(self._look(loop, topic, asleep))
            self._looking.add(task)
            task.add_done_callback(self._looking.discard)
        asleep[waiter] = after
        if self._closed:
            _resolve(waiter, head)
        try:
            return await waiter
        finally:
            asleep.pop(waiter, None)
            if timer is not None:
                timer.cancel()

    def close(self) -> None:
        """Wake all, and let nobody wait from now on."""
        self._closed = True
        for (loop, _), asleep in list(self._asleep.items()):
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(_wake_above, asleep, None)

    async def _look(self, loop: asyncio.AbstractEventLoop, topic: str, asleep: Asleep) -> None:
        """Look for events while somebody waits for them."""
        try:
            while asleep:
                _wake_above(asleep, await self._latest(topic))
                await asyncio.sleep(self._poll)
        except Exception as error:  # noqa: BLE001  whoever waits gets it
            for waiter in asleep:
                if not waiter.done():
                    waiter.set_exception(error)
        finally:
            self._asleep.pop((loop, topic), None)


def _wake_above(asleep: Asleep, head: int | None) -> None:
    """Wake those that wait for a smaller id than the newest; all if there is none."""
    for waiter, after in asleep.items():
        if head is None or after < head:
            _resolve(waiter, after if head is None else head)


def _resolve(waiter: asyncio.Future[int], head: int) -> None:
    if not waiter.done():
        waiter.set_result(head)
