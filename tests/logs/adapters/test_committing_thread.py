"""The bridge to event loops: cancelled tasks, loops that go away, closing.

What every asynchronous log has to do, the conformance suite asks of the bridge too.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, cast
from weakref import ReferenceType, ref

import pytest

from sessionledger import (
    Appended,
    AsyncSessionStore,
    Change,
    InvalidEvent,
    Log,
    LogEvent,
    LogUnavailable,
    RowFilter,
    StoreClosed,
    Unit,
)
from sessionledger.logs.adapters.committing_thread import LoopLog
from sessionledger.logs.adapters.threads import for_loops
from sessionledger.logs.base import Outcome
from sessionledger.testing.conformance.loops import turns
from sessionledger.testing.fixtures import (
    PATIENCE,
    TOPIC,
    Ledger,
    concurrently,
    event,
    every_event,
    until,
)

SESSIONS = "orchestrator.sessions"


class Held:
    """A log whose appends wait for leave, and may then fail."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.entered = threading.Event()
        self.leave = threading.Event()
        self.error: Exception | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._log, name)

    def append(
        self, topic: str, batch: Sequence[Unit], until: float | None = None
    ) -> list[Outcome]:
        self.entered.set()
        assert self.leave.wait(PATIENCE)
        if self.error is not None:
            raise self.error
        return self._log.append(topic, batch, until)


def units(*told: int) -> list[Unit]:
    return [Unit([Change(event(n=n))]) for n in told]


def run(coroutine: Any) -> Any:
    """Run it in a new loop, and don't wait for ever."""
    return asyncio.run(asyncio.wait_for(coroutine, PATIENCE))


def test_several_loops_share_one_store(ledger: Ledger) -> None:
    store = AsyncSessionStore(ledger.log)

    async def visit(loop: int) -> list[str]:
        issued = await asyncio.gather(*(store.create(f"p{loop}") for _ in range(10)))
        found = [await store.get(one.token) for one in issued]
        assert all(found)
        return [one.token for one in issued]

    tokens = concurrently(*(partial(run, visit(loop)) for loop in range(4)))

    async def leave() -> None:
        for mine in tokens:
            for token in mine:
                assert await store.get(token)
        assert await store.count() == 40
        assert (await store.verify()).ok
        await store.close()

    run(leave())


def test_a_cancelled_append_still_completes(ledger: Ledger) -> None:
    async def cancel() -> None:
        held = Held(ledger.log)
        store = AsyncSessionStore(held)
        task = asyncio.create_task(store.create("alice", token="x" * 40))
        assert await asyncio.to_thread(held.entered.wait, PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        held.leave.set()
        assert await asyncio.to_thread(ledger.log.wait, SESSIONS, 0, PATIENCE) == 1
        assert await store.get("x" * 40)
        await store.close()

    run(cancel())


def test_a_task_that_is_cancelled_before_it_was_committed_is_committed(ledger: Ledger) -> None:
    async def cancel() -> None:
        log = LoopLog(ledger.log)
        task = asyncio.create_task(log.append(TOPIC, units(1)))
        await asyncio.sleep(0)
        task.cancel()
        await log.append(TOPIC, units(2))
        assert task.cancelled()
        await log.detach()

    run(cancel())
    assert [one.value["n"] for one in every_event(ledger.log)] == [1, 2]


def test_a_loop_that_closes_meanwhile_harms_nobody(ledger: Ledger) -> None:
    held = Held(ledger.log)
    bridge = LoopLog(held)
    gone = asyncio.new_event_loop()
    task = gone.create_task(bridge.append(TOPIC, units(1)))
    gone.run_until_complete(asyncio.wait_for(asyncio.to_thread(held.entered.wait), PATIENCE))
    gone.run_until_complete(gone.shutdown_default_executor())
    gone.close()
    held.leave.set()

    async def go_on() -> None:
        assert await bridge.append(TOPIC, units(2)) == [Appended((2,))]
        await bridge.detach()

    run(go_on())
    assert not task.done()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    assert [one.value["n"] for one in every_event(ledger.log)] == [1, 2]


def test_one_bad_append_does_not_spoil_the_others(ledger: Ledger) -> None:
    forged = LogEvent.of("k", {}, headers={"harn.provenance.schema": "mine"})

    async def append() -> list[Any]:
        log = LoopLog(ledger.log)
        answers = await asyncio.gather(
            log.append(TOPIC, units(1)),
            log.append(TOPIC, [Unit([Change(forged)])]),
            log.append(TOPIC, units(2)),
            return_exceptions=True,
        )
        await log.detach()
        return list(answers)

    first, refused, last = run(append())
    assert first == [Appended((1,))]
    assert isinstance(refused, InvalidEvent)
    assert last == [Appended((2,))]


def test_what_the_storage_refuses_reaches_everybody(ledger: Ledger) -> None:
    held = Held(ledger.log)
    held.error = LogUnavailable("full")
    held.leave.set()

    async def append() -> list[Any]:
        log = LoopLog(held)
        answers = await asyncio.gather(
            *(log.append(TOPIC, units(n)) for n in range(3)), return_exceptions=True
        )
        await log.detach()
        return answers

    assert [type(answer) for answer in run(append())] == [LogUnavailable] * 3


@pytest.mark.parametrize("turns", range(6))
def test_closing_among_appends_answers_every_one_of_them(ledger: Ledger, turns: int) -> None:
    """Those that came in time are written, the others refused; nobody waits for ever."""

    async def append_and_close() -> list[Any]:
        log = LoopLog(ledger.log)

        async def close() -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await log.detach()

        async def append(n: int) -> Any:
            for _ in range(n % 4):
                await asyncio.sleep(0)
            return await log.append(TOPIC, units(n))

        answers = await asyncio.gather(
            *map(append, range(6)), close(), *map(append, range(6, 12)), return_exceptions=True
        )
        return [answer for answer in answers if answer is not None]

    answers: list[Any] = []
    for _ in range(20):
        answers += run(append_and_close())
    written = [answer for answer in answers if not isinstance(answer, StoreClosed)]
    assert sorted(answer[0].ids[0] for answer in written) == [e.id for e in every_event(ledger.log)]


def test_after_the_end_appends_are_refused(ledger: Ledger) -> None:
    async def append() -> None:
        log = LoopLog(ledger.log)
        await log.append(TOPIC, units(1))
        await log.detach()
        await log.detach()
        with pytest.raises(StoreClosed):
            await log.append(TOPIC, units(2))

    run(append())


def test_the_bridge_answers_what_the_log_answers(ledger: Ledger) -> None:
    async def ask() -> None:
        log = LoopLog(ledger.log)
        await log.append(TOPIC, [Unit([Change(event(b"k", n=1))])])
        await log.ack(TOPIC, "mailer", 1)
        assert await log.read(TOPIC) == ledger.log.read(TOPIC)
        assert await log.read_key(TOPIC, b"k") == ledger.log.read_key(TOPIC, b"k")
        assert await log.latest(TOPIC) == 1
        assert await log.row(TOPIC, b"k") == ledger.log.row(TOPIC, b"k")
        assert await log.state(TOPIC, b"k") == ledger.log.state(TOPIC, b"k")
        assert await log.rows(TOPIC) == ledger.log.rows(TOPIC)
        assert await log.count(TOPIC, RowFilter(owner="alice")) == 1
        assert await log.cursor(TOPIC, "mailer") == 1
        assert await log.rebuild(TOPIC) == 1
        assert await log.topics() == [TOPIC]
        assert await log.describe() == ledger.log.describe()
        await log.flush()
        await log.close()
        with pytest.raises(StoreClosed):
            ledger.log.latest(TOPIC)

    run(ask())


def test_closing_in_one_loop_ends_what_others_do(ledger: Ledger) -> None:
    """Each call is answered or refused, and what was answered is there."""
    log, begun = for_loops(ledger.log), threading.Event()

    async def use(loop: int) -> list[int]:
        kept: list[int] = []
        with suppress(StoreClosed):
            for n in count(loop * 1_000_000):
                await asyncio.gather(log.append(TOPIC, units(n)), log.state(TOPIC, b"k"))
                kept.append(n)
                await log.count(TOPIC)
                begun.set()
        return kept

    async def close() -> list[int]:
        await asyncio.to_thread(begun.wait, PATIENCE)
        await log.detach()
        return []

    users = (partial(run, use(loop)) for loop in range(1, 4))
    kept = concurrently(*users, partial(run, close()))
    stored = {one.value["n"] for one in ledger.log.read(TOPIC, limit=1_000_000)}
    assert stored >= {n for mine in kept for n in mine}


def test_a_loop_that_ends_amid_calls_harms_no_other(ledger: Ledger) -> None:
    """And it is not kept once another loop is there: a process may have many."""
    log = for_loops(ledger.log)

    async def leave(n: int) -> ReferenceType[asyncio.AbstractEventLoop]:
        for call in (
            log.append(TOPIC, units(n)),
            *(log.state(TOPIC, b"%d" % key) for key in range(10)),
            *(log.count(TOPIC) for _ in range(10)),
            log.read(TOPIC),
            log.wait(TOPIC, 1 << 40),
        ):
            tasks.append(asyncio.create_task(cast(Coroutine[Any, Any, Any], call)))
            await turns(n % 2)
        await turns(1 + n)
        return ref(asyncio.get_running_loop())

    loops = []
    for n in range(4):
        tasks: list[asyncio.Task[Any]] = []
        loops.append(run(leave(n)))
    until(lambda: ledger.log.latest(TOPIC) > 0 and len(every_event(ledger.log)) == 4)
    assert sorted(one.value["n"] for one in every_event(ledger.log)) == [*range(4)]
    tasks.clear()
    run(leave(4))
    run(log.wait(TOPIC, 1 << 40, 0.01))

    def are_gone() -> bool:
        gc.collect()
        return not any(loop() for loop in loops)

    until(are_gone)
