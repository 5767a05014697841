"""What programs do in greenlets, in a process of their own: `python -m tests.logs.in_greenlets`.

The arguments say whether gevent patches the process before the package is imported or after a store
is open, the address of the ledger, and what to do.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sessionledger import SessionStore

PATIENCE = 30.0
GREENLETS = 40


def main(order: str, url: str, *named: str) -> None:
    """Patch, open, and do each of it."""
    if order == "before":
        patch_all()
    store: SessionStore = importlib.import_module("sessionledger").SessionStore.open(url)
    first = store.create("first")
    assert store.get(first.token) is not None
    if order == "after":
        patch_all()
    with store:
        for name in named:
            WHAT[name](store)
            print(name, flush=True)


def patch_all() -> None:
    from gevent import monkey

    monkey.patch_all()


def together(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    """What calls answer or raise, each in a greenlet."""
    import gevent

    def caught(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            return error

    greenlets = [gevent.spawn(caught, call) for call in calls]
    assert len(gevent.joinall(greenlets, PATIENCE)) == len(greenlets), "some never end"
    return [greenlet.value for greenlet in greenlets]


class Turns:
    """How often a greenlet gets its turn that does nothing else."""

    def __init__(self) -> None:
        import gevent

        self.taken = 0
        self._greenlet = gevent.spawn(self._take)

    def _take(self) -> None:
        import gevent

        while True:
            gevent.sleep(0.001)
            self.taken += 1


def use(store: SessionStore, number: int) -> int:
    """Begin a session, read it, change it, and end it; what its version was."""
    issued = store.create(f"user-{number}")
    assert store.get(issued.token) is not None
    assert store.patch(issued.token, {"n": number}) is not None
    found = store.authenticate(issued.token)
    assert found is not None
    assert found.attributes == {"n": number}
    if number % 2:
        assert store.expire(issued.token) is not None
        assert store.get(issued.token) is None
    return found.version


def many(store: SessionStore) -> None:
    """Many greenlets use it at once."""
    versions = together(partial(use, store, n) for n in range(GREENLETS))
    assert len({*versions}) == GREENLETS, versions
    assert store.verify().ok
    assert store.count() >= GREENLETS // 2


def held(store: SessionStore) -> None:
    """Another process has the ledger. Calls end in time, and other greenlets run meanwhile."""
    from sessionledger import LogUnavailable

    print("hold", flush=True)
    assert sys.stdin.readline()
    turns = Turns()
    answers = together(lambda: store.create("late") for _ in range(5))
    assert all(isinstance(answer, LogUnavailable) for answer in answers), answers
    assert turns.taken > 0, "no other greenlet ran"
    print("release", flush=True)
    sys.stdin.read()
    many(store)


def killed(store: SessionStore) -> None:
    """Greenlets are killed while they write."""
    import gevent

    for number in range(GREENLETS):
        writing = [gevent.spawn(store.create, "victim") for _ in range(3)]
        gevent.sleep(0.0005 * (number % 5))
        gevent.killall(writing[:2], timeout=PATIENCE)
        assert writing[2].get(timeout=PATIENCE) is not None
    many(store)


def waited(store: SessionStore) -> None:
    """A greenlet that waits for an event is woken by another one's."""
    import gevent

    log = store._log
    topic = "orchestrator.sessions"
    head = log.latest(topic)
    waiting = [gevent.spawn(log.wait, topic, head, PATIENCE) for _ in range(3)]
    gevent.sleep(0.02)
    store.create("news")
    assert [one.get(timeout=PATIENCE) for one in waiting] == [head + 1] * 3


def forked(store: SessionStore) -> None:
    """The process forks while greenlets read; parent and child go on. Each child has every greenlet
    of the parent, so none of them may write."""
    import gevent

    token = store.create("reader").token

    def read() -> None:
        while True:
            assert store.get(token) is not None
            gevent.sleep(0)

    reading = [gevent.spawn(read) for _ in range(3)]
    gevent.sleep(0)
    for _ in range(2):
        if not (child := os.fork()):
            with exiting():
                use(store, 1)
        assert os.waitpid(child, 0)[1] == 0
    assert not any(one.ready() for one in reading)
    gevent.killall(reading, timeout=PATIENCE)
    many(store)


@contextmanager
def exiting() -> Iterator[None]:
    status = 1
    try:
        yield
        status = 0
    finally:
        os._exit(status)


def executed(store: SessionStore) -> None:
    """The process executes programs while greenlets write."""
    import subprocess

    import gevent

    using = [gevent.spawn(use, store, n) for n in range(GREENLETS)]
    for _ in range(3):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    gevent.joinall(using, PATIENCE, raise_error=True)
    assert store.verify().ok


def swept(store: SessionStore) -> None:
    """A sweeper and a maintainer run in threads, which are greenlets."""
    import threading

    stop = threading.Event()
    runs = (store.run_sweeper, store.run_maintenance)
    threads = [
        threading.Thread(target=run, args=(timedelta(milliseconds=20),), kwargs={"stop": stop})
        for run in runs
    ]
    for thread in threads:
        thread.start()
    many(store)
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def loops(store: SessionStore) -> None:
    """An event loop runs in a greenlet, and another one after it; other greenlets go on."""
    import asyncio

    import gevent

    from sessionledger import AsyncSessionStore

    asynchronous = AsyncSessionStore(store._log)

    async def create() -> None:
        issued = await asyncio.gather(*(asynchronous.create(f"loop-{n}") for n in range(10)))
        assert all([await asynchronous.get(one.token) for one in issued])
        assert await asynchronous.count() > len(issued)

    for _ in range(2):
        looping = gevent.spawn(asyncio.run, create())
        many(store)
        looping.get(timeout=PATIENCE)
    asyncio.run(asynchronous.close())


def refused(store: SessionStore) -> None:
    """Nothing is done, at once."""
    import asyncio

    import gevent

    from sessionledger import AsyncSessionStore, UnsupportedRuntime

    asynchronous = AsyncSessionStore(store._log)
    calls: list[Callable[[], object]] = [lambda: asyncio.run(asynchronous.create("loop"))]
    if type(store._log).__name__ == "PostgresLog":
        calls += [lambda: store.create("late"), lambda: store.count(), store.verify]
    turns = Turns()
    for answer in together(calls):
        assert isinstance(answer, UnsupportedRuntime), answer
        assert "gevent.monkey.patch_all() before the import" in str(answer)
    gevent.sleep(0.01)
    assert turns.taken


def stale(store: SessionStore) -> None:
    """Reads may be stale: with PostgreSQL, a greenlet reads what happens, again and again."""
    from sessionledger import SessionStore

    with SessionStore.open(sys.argv[2], max_staleness=timedelta(milliseconds=200)) as cached:
        many(cached)
        token = cached.create("cached").token
        assert together(lambda: cached.get(token) for _ in range(GREENLETS)).count(None) == 0
    many(store)


WHAT = {
    what.__name__: what for what in (many, killed, waited, forked, executed, swept, loops, stale)
}
WHAT |= {"held": held, "refused": refused}

if __name__ == "__main__":
    main(*sys.argv[1:])
