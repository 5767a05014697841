"""A loss of power at any moment, after which any part of what was not flushed is missing.

What a writer did is recorded, call by call, and cut at each flush. Of the rest any part survives.
The ledger is then opened again: nothing that was acknowledged is lost, no unit is half there, and
`verify` finds nothing wrong.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from pathlib import Path
from random import Random
from unittest.mock import patch

import pytest

from sessionledger import LogUnavailable, SessionStore, Unit
from sessionledger.logs import chain
from sessionledger.logs.base import Change
from sessionledger.logs.chain import Head
from sessionledger.logs.file import FileLog
from sessionledger.logs.file.recovery import durable_offset
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.conformance.compaction import compact
from sessionledger.testing.fixtures import FOLD, TOPIC, add, event
from tests.logs.file.disk_trace import Disk, Trace, points, recording, surviving

Told = tuple[object, ...]
KEYS = [bytes([n]) for n in range(9)]


class World:
    """A ledger in the making: what it told after each step that was acknowledged."""

    def __init__(self, root: Path, trace: Trace) -> None:
        self.root = root
        self.trace = trace
        self.told: list[tuple[Told, ...]] = [(("", 0),)]

    @contextmanager
    def log(self, durability: str = "full") -> Iterator[FileLog]:
        """A process on the ledger. It ends without closing anything properly."""
        log = FileLog(self.root, durability=durability, sync=lambda file: os.fdatasync(file))
        log.fold_with(TOPIC, FOLD)
        with closing(log):
            yield log

    def acknowledged(self, log: FileLog, *between: Told) -> None:
        """A step was answered. A part of it may be there before, if it is of several units."""
        self.told.append((*between, told_by(log)))
        self.trace.note(len(self.told) - 1)


def told_by(log: FileLog) -> Told:
    """What a log tells of both topics, and of a consumer."""
    sessions = SessionStore(log)
    listed = sorted(
        (one.handle, one.ended_at is None, repr(one.attributes))
        for one in sessions.sessions(state="all", superseded=True)
    )
    return (
        log.latest(SESSIONS_TOPIC),
        *listed,
        log.latest(TOPIC),
        *(row.key for row in log.rows(TOPIC)),
        log.cursor(TOPIC, "mailer"),
    )


# What is done, and acknowledged


def sessions(world: World) -> None:
    with world.log() as log:
        store = SessionStore(log)
        issued = [store.create("alice", attributes={"n": n}) for n in range(3)]
        world.acknowledged(log)
        for change in (
            lambda: store.patch(issued[0].token, {"note": "v" * 9000}),
            lambda: store.rotate(issued[1].token),
            lambda: store.expire(issued[2].token),
            lambda: [store.create("bob") for _ in range(1)],
            lambda: log.ack(TOPIC, "mailer", 3),
            lambda: log.ack(TOPIC, "mailer", 7),
        ):
            change()
            world.acknowledged(log)


def many_ends(world: World) -> None:
    with world.log() as log:
        store = SessionStore(log)
        for _ in range(16):
            store.create("alice")
        world.acknowledged(log)
        store.revoke_all("alice")
        world.acknowledged(log)
        store.create("alice")
        world.acknowledged(log)


def batches(world: World) -> None:
    """Units that were flushed together: each of them is whole or not there."""
    with world.log() as log:
        add(log, [event(KEYS[0])])
        world.acknowledged(log)
        for size in (1, 3):
            units = [
                Unit([Change(event(KEYS[n], note="x" * 700)) for n in range(m, m + size)])
                for m in range(4)
            ]
            log.append(TOPIC, units)
            first = log.latest(TOPIC) - 4 * size
            told = told_by(log)
            counts = [first + size * n for n in range(4)]
            world.told.append((*(("latest", n) for n in counts), told))
            world.trace.note(len(world.told) - 1)


def compacted(world: World) -> None:
    """The second compaction follows the first at once. Before the others somebody writes."""
    with world.log() as log, world.log("normal") as other:
        for n in range(3):
            add(log, [event(KEYS[3], note="z" * 3000, live=n < 2)])
            world.acknowledged(log)
            log.append(TOPIC, [Unit([Change(event(KEYS[n])), Change(event(KEYS[n + 1]))])])
            world.acknowledged(log)
            compact(log, log.latest(TOPIC) - 1)
            world.acknowledged(log)
            if n == 0:
                compact(other, other.latest(TOPIC))
                world.acknowledged(log)
    with world.log() as log:
        add(log, [event(KEYS[5])])
        world.acknowledged(log)


def others_that_flush_nothing(world: World) -> None:
    """What they acknowledged may be lost, until somebody else who flushes has followed it."""
    with world.log("normal") as log:
        add(log, [event(key) for key in KEYS[:4]])
    with world.log() as log:
        assert log.count(TOPIC) == 4
        add(log, [event(KEYS[5])])
        world.acknowledged(log)
    with world.log("normal") as log:
        add(log, [event(KEYS[6])])
        log.flush()
        world.acknowledged(log)


def makers_that_failed(world: World) -> None:
    """Each flush of a folder fails once, in a process that ends then."""
    for failing in range(4):
        count = iter(range(99))
        world.trace.fails = lambda what, path, count=count, last=failing: (  # type: ignore[misc]
            what == "fsync" and os.path.isdir(path) and next(count) == last
        )
        with suppress(LogUnavailable), world.log() as log:
            add(log, [event()])
    world.trace.fails = lambda what, path: False
    with world.log() as log:
        add(log, [event(KEYS[5])])
        world.acknowledged(log)


def flushes_that_failed(world: World) -> None:
    """A process fails to flush a batch, and to cut it off. Another one goes on."""
    with world.log() as log:
        add(log, [event(KEYS[0])])
        world.acknowledged(log)
        for also in ((), ("ftruncate",)):
            with world.log() as other:
                world.trace.fails = lambda what, path, also=also: (  # type: ignore[misc]
                    path.endswith(".jsonl") and what in ("fsync", *also)
                )
                with pytest.raises(LogUnavailable):
                    add(other, [event(KEYS[1], note="y" * 600)])
            world.trace.fails = lambda what, path: False
            before = log.latest(TOPIC)
            add(log, [event(KEYS[2])])
            world.acknowledged(log, *(("latest", n) for n in range(before, log.latest(TOPIC) + 1)))


# What is left of it


@contextmanager
def another_boot(where: Path) -> Iterator[None]:
    """After a boot, on a disk that need not be flushed for a test."""
    where.with_name("boot").write_text("another-boot\n")
    with (
        patch.object(durable_offset, "_BOOT", where.with_name("boot")),
        patch.object(os, "fsync", lambda file: None),
        patch.object(os, "fdatasync", lambda file: None),
    ):
        yield


def check(root: Path, told: list[tuple[Told, ...]], last: int) -> None:
    """What is found is what was acknowledged last, or with the step that was under way."""
    # Not the order in which an application would ask: `verify` is what repairs here.
    with closing(FileLog(root, sync=lambda file: None)) as log:
        log.fold_with(TOPIC, FOLD)
        store = SessionStore(log)
        assert store.verify().ok
        cut = log.cut(TOPIC)
        assert isinstance(chain.verify(TOPIC, log.read(TOPIC, cut.id), cut.head), Head)
        found = told_by(log)
        allowed = [*told[last][-1:], *(told[last + 1] if last + 1 < len(told) else ())]
        latest = ("latest", log.latest(TOPIC))
        assert last == 0 or found in allowed or latest in allowed, (found, allowed)
        assert store.get(store.create("carol").token) is not None
        add(log, [event(KEYS[8])])
        before = told_by(log)
    with closing(FileLog(root, sync=lambda file: None)) as log:
        log.fold_with(TOPIC, FOLD)
        assert told_by(log) == before
        assert SessionStore(log).verify().ok


def try_all(tmp_path: Path, scenario: Callable[[World], None], images: int, seed: int) -> None:
    top, image = tmp_path / "top", tmp_path / "image"
    top.mkdir()
    with recording(top) as trace:
        world = World(top / "ledger", trace)
        scenario(world)
    check_trace(trace, top, image)
    random, disk, last, at = Random(seed), Disk(), 0, set(points(trace.steps))
    each = max(2, images // len(at))
    with another_boot(image):
        for n, step in enumerate(trace.steps):
            if n in at:
                for number, (chosen, unit) in enumerate(islice(surviving(random), each)):
                    disk.put_down(image, chosen, unit)
                    try:
                        if (image / "ledger").exists():
                            check(image / "ledger", world.told, last)
                        else:
                            assert last == 0
                    except Exception as error:
                        error.add_note(f"seed {seed}, step {n} {step.what}, image {number}")
                        raise
                    shutil.rmtree(image)
            disk.take(step)
            last = step.number if step.what == "note" else last


def check_trace(trace: Trace, top: Path, image: Path) -> None:
    """The trace lacks nothing: replayed as a whole it is what is there."""
    disk = Disk()
    for step in trace.steps:
        disk.take(step._replace(what="note") if step.what == "forget" else step)
    disk.put_down(image, lambda step: True)
    assert contents(image) == contents(top)
    shutil.rmtree(image)


def contents(top: Path) -> dict[str, bytes]:
    files = [path for path in top.rglob("*") if path.is_file()]
    return {str(path.relative_to(top)): path.read_bytes() for path in files}


SCENARIOS = [
    *(sessions, many_ends, batches, compacted),
    *(others_that_flush_nothing, makers_that_failed, flushes_that_failed),
]


@pytest.mark.sampled
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_after_a_loss_of_power_all_that_was_acknowledged_is_there(
    tmp_path: Path, scenario: Callable[[World], None]
) -> None:
    try_all(tmp_path, scenario, images=30, seed=1)


@pytest.mark.middle
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_so_it_is_in_many_cases(tmp_path: Path, scenario: Callable[[World], None]) -> None:
    try_all(tmp_path, scenario, images=300, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3, 6))
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_so_it_is_in_very_many_cases(
    tmp_path: Path, scenario: Callable[[World], None], seed: int
) -> None:
    try_all(tmp_path, scenario, images=1500, seed=seed)
