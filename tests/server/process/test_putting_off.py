"""Timers that are put off: they ring once, not before their time, and not once they are ended."""

from __future__ import annotations

import asyncio

from sessionledger.server.process.putting_off import PutOff

SOON, LATER = 0.01, 0.03


def test_it_rings_unless_it_was_ended_and_after_it_was_last_begun() -> None:
    rung: list[str] = []

    async def wait() -> tuple[float, float]:
        loop, last = asyncio.get_running_loop(), asyncio.Event()
        ended = PutOff(loop, SOON, lambda: rung.append("ended"))
        closed = PutOff(loop, SOON, lambda: rung.append("closed"))
        again = PutOff(loop, SOON, lambda: rung.append("again"))
        put_off = PutOff(loop, LATER, last.set)
        for one in (ended, closed, again, put_off):
            one.begin()
        ended.end()
        closed.close()
        again.end()
        again.begin()
        await _rings(loop)
        begun = loop.time()
        put_off.begin()
        await last.wait()
        return begun, loop.time()

    begun, end = asyncio.run(wait())
    assert rung == ["again"]
    assert end >= begun + LATER


async def _rings(loop: asyncio.AbstractEventLoop) -> None:
    rung = loop.create_future()
    PutOff(loop, SOON, lambda: rung.set_result(None)).begin()
    await rung
