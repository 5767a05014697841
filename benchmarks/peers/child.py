"""A peer's process: prepares it, proves that it does what it promises, and runs what it is told.

Speaks JSON lines: the first line in is the place; the first line out tells what the peer is. Then
each line in names a task and how many times, and the line out how many seconds that took.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

import msgspec

from benchmarks.peers.contender import (
    CREATE,
    CREATE_BATCH,
    CREATE_TOGETHER,
    LIST,
    REVOKE,
    TOGETHER,
    VALIDATE,
    Peer,
    Place,
)
from benchmarks.peers.proving import prove
from benchmarks.peers.telling import Order, Told, Took

# So many creates bring a write-ahead log to the size that it keeps. While a file grows, the file
# system writes more at each flush, several times as much; what runs for long is past that.
SETTLING = 700


def main() -> None:
    module, variant = sys.argv[1:]
    if module != "ours":
        del sys.modules["opentelemetry"]  # left out for ours; some peers insist on it
    orders, answers = sys.stdin, _own_output()
    place = msgspec.json.decode(orders.readline(), type=Place)
    peer: Peer
    with importlib.import_module(f"benchmarks.peers.{module}").peer(place, variant) as peer:
        doomed = iter(place.principals[: len(place.principals) // 2])
        prove(peer, place, doomed)
        tasks = _tasks(peer, place, doomed)
        if CREATE in tasks:
            tasks[CREATE](SETTLING)
        gc.collect()
        gc.freeze()  # what was prepared is walked by no collection while time is taken
        _answer(answers, Told(peer.name, peer.version, peer.promises, peer.measured, list(tasks)))
        for line in orders:
            order = msgspec.json.decode(line, type=Order)
            _answer(answers, Took(tasks[order.task](order.times)))


def _own_output() -> TextIO:
    """What was standard output; what a library prints from now on goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def _answer(answers: TextIO, answer: msgspec.Struct) -> None:
    print(msgspec.json.encode(answer).decode(), file=answers, flush=True)


Timed = Callable[[int], float]
"""Does a task so many times, and answers the seconds. What it is done to is drawn beforehand."""


def _tasks(peer: Peer, place: Place, doomed: Iterator[str]) -> dict[str, Timed]:
    half = len(place.principals) // 2
    lasting, newcomers = place.principals[half:], place.newcomers
    tokens = peer.tokens[place.sessions // 2 :]
    tasks: dict[str, Timed] = {}
    if peer.validate is not None:
        tasks[VALIDATE] = _each(peer, peer.validate, lambda n: random.choices(tokens, k=n))
    if peer.create is not None:
        tasks[CREATE] = _each(peer, peer.create, lambda n: random.choices(newcomers, k=n))
    if peer.create_batch is not None:
        tasks[CREATE_BATCH] = _batches(peer, peer.create_batch, newcomers)
    if peer.create is not None and peer.loop is not None:
        tasks[CREATE_TOGETHER] = _gathered(peer, peer.create, newcomers)
    if peer.listing is not None:
        tasks[LIST] = _each(peer, peer.listing, lambda n: random.choices(lasting, k=n))
    if peer.revoke is not None:
        tasks[REVOKE] = _each(peer, peer.revoke, lambda n: [next(doomed) for _ in range(n)])
    return {name: timed for name, timed in tasks.items() if name in (peer.only or tasks)}


def _each(peer: Peer, call: Callable[[Any], Any], draw: Callable[[int], list[Any]]) -> Timed:
    async def one_after_another(inputs: list[Any]) -> None:
        for one in inputs:
            await call(one)

    def timed(times: int) -> float:
        inputs = draw(times)
        start = time.perf_counter()
        if peer.loop is not None:
            peer.loop.run(one_after_another(inputs))
        else:
            for one in inputs:
                call(one)
        return time.perf_counter() - start

    return timed


def _gathered(peer: Peer, call: Callable[[str], Any], newcomers: Sequence[str]) -> Timed:
    """So many tasks, each of which creates one after another."""

    async def creates(owners: list[str]) -> None:
        for owner in owners:
            await call(owner)

    async def all_at_once(shares: list[list[str]]) -> None:
        await asyncio.gather(*(creates(share) for share in shares))

    def timed(times: int) -> float:
        assert peer.loop is not None
        shares = [random.choices(newcomers, k=times // TOGETHER) for _ in range(TOGETHER)]
        start = time.perf_counter()
        peer.loop.run(all_at_once(shares))
        return time.perf_counter() - start

    return timed


def _batches(peer: Peer, call: Callable[[Sequence[str]], Any], newcomers: Sequence[str]) -> Timed:
    """One caller, who hands over whole batches."""
    assert peer.loop is None

    def timed(times: int) -> float:
        batches = [random.choices(newcomers, k=TOGETHER) for _ in range(times // TOGETHER)]
        start = time.perf_counter()
        for batch in batches:
            call(batch)
        return time.perf_counter() - start

    return timed


if __name__ == "__main__":
    main()
