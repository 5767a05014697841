"""The asynchronous colour: tasks that are cancelled, and several event loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.base import Appended, Change, StoredEvent, Unit
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import PATIENCE, TOPIC, Ledger, concurrently, event

T = TypeVar("T")

TURNS = 20
LOOPS = 4
TASKS = 10


def units(*told: int) -> list[Unit]:
    """Units of one event each."""
    return [Unit([Change(event(n=n))]) for n in told]


async def turns(count: int) -> None:
    """Let the other tasks of the loop have so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def begin_and_cancel(log: ImmediateLog, n: int, after: int) -> None:
    """Append, and be cancelled after so many turns of the loop, one at least."""
    task = asyncio.create_task(log.append(TOPIC, units(n)))
    await turns(1 + after)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def events_until(log: ImmediateLog, count: int, patience: float) -> list[StoredEvent]:
    """The events of the topic, once there are so many, or no more of them come."""
    seen: list[StoredEvent] = []
    after = 0
    while len(seen) < count and await log.wait(TOPIC, after, patience) > after:
        seen += await log.read(TOPIC, after)
        after = seen[-1].id
    return seen


def in_new_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run it in a new loop, and don't wait for ever."""
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


class LoopConformance(Conformance):
    """What tasks and event loops may rely on."""

    def test_a_cancelled_append_completes(self, ledger: Ledger) -> None:
        """Once begun, however far it has got."""
        log = ledger.for_loops()

        async def cancel() -> list[StoredEvent]:
            for n in range(TURNS):
                await begin_and_cancel(log, n, after=n)
            return await events_until(log, TURNS, ledger.harness.patience)

        told = [one.value["n"] for one in in_new_loop(cancel())]
        assert sorted(told) == list(range(TURNS))

    def test_a_cancelled_append_harms_no_other(self, ledger: Ledger) -> None:
        log = ledger.for_loops()

        async def append(n: int) -> int:
            if n % 2:
                await begin_and_cancel(log, n, after=n % 3)
                return n
            (outcome,) = await log.append(TOPIC, units(n))
            assert isinstance(outcome, Appended)
            (own,) = await log.read(TOPIC, outcome.ids[0] - 1, 1)
            return int(own.value["n"])

        async def append_all() -> list[StoredEvent]:
            assert await asyncio.gather(*map(append, range(TURNS))) == list(range(TURNS))
            return await events_until(log, TURNS, ledger.harness.patience)

        told = [one.value["n"] for one in in_new_loop(append_all())]
        assert sorted(told) == list(range(TURNS))

    def test_a_cancelled_wait_harms_nobody(self, ledger: Ledger) -> None:
        log = ledger.for_loops()

        async def wait() -> int:
            waiting = asyncio.create_task(log.wait(TOPIC, 0))
            await turns(3)
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
            await log.append(TOPIC, units(1))
            return await log.wait(TOPIC, 0)

        assert in_new_loop(wait()) == ledger.log.latest(TOPIC) >= 1

    def test_waiting_sees_what_another_task_appends(self, ledger: Ledger) -> None:
        log = ledger.for_loops()

        async def wait() -> int:
            waiting = asyncio.create_task(log.wait(TOPIC, 0, ledger.harness.patience))
            await turns(1)
            await log.append(TOPIC, units(1))
            return await waiting

        assert in_new_loop(wait()) == ledger.log.latest(TOPIC) >= 1

    def test_each_task_gets_the_outcomes_of_its_own_units(self, ledger: Ledger) -> None:
        log = ledger.for_loops()

        async def append(size: int) -> None:
            outcomes = await log.append(TOPIC, units(*[size] * size))
            assert len(outcomes) == size
            for outcome in outcomes:
                assert isinstance(outcome, Appended)
                (own,) = await log.read(TOPIC, outcome.ids[0] - 1, 1)
                assert own.value["n"] == size

        async def append_all() -> None:
            await asyncio.gather(*map(append, range(6)))

        in_new_loop(append_all())

    def test_several_loops_share_one_log(self, ledger: Ledger) -> None:
        log = ledger.for_loops()

        async def visit(loop: int) -> list[int]:
            told = [loop * TASKS + n for n in range(TASKS)]
            answers = await asyncio.gather(*(log.append(TOPIC, units(n)) for n in told))
            ids = [id for (one,) in answers if isinstance(one, Appended) for id in one.ids]
            assert await log.latest(TOPIC) >= max(ids)
            return ids

        ids = concurrently(*(partial(in_new_loop, visit(loop)) for loop in range(LOOPS)))
        events = in_new_loop(log.read(TOPIC))
        assert [one.id for one in events] == sorted(id for mine in ids for id in mine)
        assert sorted(one.value["n"] for one in events) == list(range(LOOPS * TASKS))

    def test_loops_that_come_and_go_share_one_log(self, ledger: Ledger) -> None:
        log = ledger.for_loops()
        for n in range(LOOPS):
            in_new_loop(log.append(TOPIC, units(n)))
            in_new_loop(begin_and_cancel(log, n, after=0))
        told = in_new_loop(events_until(log, 2 * LOOPS, ledger.harness.patience))
        assert sorted(one.value["n"] for one in told) == sorted([*range(LOOPS)] * 2)

    def test_waiting_sees_what_another_loop_appends(self, ledger: Ledger) -> None:
        log, waiting = ledger.for_loops(), threading.Barrier(LOOPS)

        async def wait() -> int:
            task = asyncio.create_task(log.wait(TOPIC, 0, ledger.harness.patience))
            await turns(1)
            await asyncio.to_thread(waiting.wait, PATIENCE)
            return await task

        async def append() -> int:
            await asyncio.to_thread(waiting.wait, PATIENCE)
            await log.append(TOPIC, units(1))
            return await log.latest(TOPIC)

        calls = [append, *[wait] * (LOOPS - 1)]
        ids = concurrently(*(lambda call=call: in_new_loop(call()) for call in calls))
        assert {*ids} == {ledger.log.latest(TOPIC)}
