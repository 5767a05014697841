"""A small model of what the cache rests on, walked in every order that its steps can take.

The world is one database of one row, as SQLite keeps it in WAL mode: a file, a log of frames behind
salts, and the header of the WAL-index in two copies. Processes write to it and may crash between
any two steps; threads of one process read through one cache. The steps of a reader are those of
`RowCache.state`; what identifies states and what changes the cache is the library's own code.

A read is right if it answers what includes every change that was acknowledged, or answered by
another read, before it began.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import NamedTuple, TypeAlias, TypeVar

import pytest

from sessionledger.logs.sqlite.row_cache import generations as library
from sessionledger.logs.sqlite.row_cache.generations import Changes, Refresh, TopicCache, reaches
from sessionledger.logs.sqlite.row_cache.wal_header import COPY_BYTES, is_stamp

T = TypeVar("T")

KEY = b"k"


class Data(NamedTuple):
    """What a state of the database holds. `value` counts the changes that reached the row."""

    value: int = 1
    version: int = 1
    head: int = 1
    folded: int = 1
    epoch: int = 0
    links: tuple[tuple[int, int], ...] = ()
    since: int = 0
    until: int = 0
    news: tuple[int, ...] = ()

    @property
    def truth(self) -> int:
        """The value of the row once the events that came without it are folded."""
        return self.value + self.head - self.folded


class Header(NamedTuple):
    """One copy of the header: the salts as one number, 0 for none; how many frames, and what the
    last of them holds, which stands for its checksum."""

    salt: int
    frames: int
    last: Data | None


NO_LOG = Header(0, 0, None)


class Shared(NamedTuple):
    """All that several processes share. `free` is the number of the next log."""

    file: Data = Data()
    salt: int = 1
    frames: tuple[Data, ...] = (Data(),)
    first: Header = Header(1, 1, Data())
    second: Header = Header(1, 1, Data())
    writing: int | None = None
    free: int = 2


class Noted(NamedTuple):
    """What a read noted, for the next one to act upon."""

    before: bytes | None
    seen: int
    stamp: bytes
    changes: Changes


class Cached(NamedTuple):
    """The cache of the reading process. `dead` is what a mapping shows that outlived its pin."""

    stamp: bytes | None = None
    seen: int = 0
    applied: tuple[int | None, str] = (None, "")
    epoch: int | None = None
    row: tuple[int, int] | None = None
    noted: Noted | None = None
    number: int = 0
    dead: tuple[Header, Header] | None = None


class Actor(NamedTuple):
    """A process that writes, or a thread that reads: what it still has to do, and where it is."""

    jobs: tuple[str, ...]
    at: str = "idle"
    floor: int = 0
    cache: int = 0
    stamp: bytes | None = None
    before: bytes | None = None
    seen: int = 0
    copy: Header | None = None
    found: Changes | None = None
    data: Data | None = None


class World(NamedTuple):
    """Everything. `floor`: what every read that begins now has to answer, at least."""

    shared: Shared
    cached: Cached
    actors: tuple[Actor, ...]
    floor: int = 1
    crashes: int = 1


class Wrong(Exception):
    """A read answered what had been superseded before it began."""


Steps: TypeAlias = Iterator[tuple[str, World]]
Variant: TypeAlias = frozenset[str]
"""Which steps of the protocol are left out, to see that they are needed."""


# -- SQLite, as far as it matters here


@cache
def copy_of(header: Header) -> bytes:
    """A copy of the header as it stands in memory."""
    salts = bytes(8) if header.salt == 0 else struct.pack("=II", header.salt, ~header.salt & 0xFFFF)
    check = hash(header.last) & 0xFFFFFFFFFFFFFFFF
    return struct.pack(
        "=IIIBBHIIQ8sQ", 3007000, 0, 0, 1, 0, 4096, header.frames, 0, check, salts, check
    )


def is_whole(shared: Shared) -> bool:
    return shared.first == shared.second


def content(shared: Shared) -> Data:
    """What a snapshot that is taken now shows: it goes by the first copy."""
    frames = shared.first.frames
    return shared.frames[frames - 1] if frames else shared.file


def recovered(shared: Shared) -> Header:
    """The header that the log says there should be."""
    if not shared.frames:
        return NO_LOG
    return Header(shared.salt, len(shared.frames), shared.frames[-1])


def snapshot(world: World) -> World | None:
    """The world with a header that a reader of SQLite can go by; None if it has to wait."""
    shared = world.shared
    if is_whole(shared):
        return world
    if shared.writing is not None:
        return None
    header = recovered(shared)
    return world._replace(shared=shared._replace(first=header, second=header))


def changed(data: Data, job: str) -> Data:
    """The state after a commit. Who writes rows folds first what came without."""
    if job == "foreign":
        return data._replace(head=data.head + 1)
    data = folded(data)
    event = data.head + 1
    placed = data._replace(head=event, folded=event)
    news = (data.version,) if job == "revoke" and data.version else ()
    told = placed._replace(since=data.head, until=event, news=news)
    if data.until == data.head:
        told = told._replace(since=data.since, news=data.news + news)
    match job:
        case "create":
            return told._replace(value=data.value + 1, version=event)
        case "revoke":
            return superseded(told, event)
        case "untold":  # an older release
            return superseded(placed, event)
        case "rewrite":
            return data._replace(value=data.value + 1, epoch=data.epoch + 1)
    return told


def folded(data: Data) -> Data:
    """The state with rows up to the head: each event of the gap is one of the row."""
    for event in range(data.folded + 1, data.head + 1):
        data = superseded(data, event)._replace(folded=event)
    return data


def superseded(data: Data, event: int) -> Data:
    """The state after an event of the row, which leaves a link to the one before."""
    links = (*data.links, (event, data.version)) if data.version else data.links
    return data._replace(value=data.value + 1, version=event, links=links)


# -- processes that write


def writer(world: World, i: int) -> Steps:
    """What a process that writes can do next."""
    me, shared = world.actors[i], world.shared
    if me.at == "idle":
        if shared.writing is None and me.jobs:
            yield "lock", put(world, i, me._replace(at="locked"), shared._replace(writing=i))
        return
    if me.at == "gone":
        return
    yield from _WRITING[me.at](world, i)
    if world.crashes:
        gone = put(world, i, Actor((), "gone"), shared._replace(writing=None))
        yield "crash", gone._replace(crashes=world.crashes - 1)


def _locked(world: World, i: int) -> Steps:
    me, shared = world.actors[i], world.shared
    if not is_whole(shared):
        yield from _publish(world, i, recovered(shared), "recover", "locked")
        return
    job, backfilled = me.jobs[0], content(shared) == shared.file
    if job == "checkpoint":
        yield "copy", put(world, i, me._replace(at="done"), shared._replace(file=content(shared)))
    elif job == "truncate":
        copied = world._replace(shared=shared._replace(file=content(shared)))
        yield from _publish(copied, i, Header(shared.free, 0, None), "truncate", "cut")
    else:
        if shared.first.frames and backfilled:
            yield from _publish(world, i, Header(shared.free, 0, None), "restart", "locked")
        yield from _append(world, i)


def _append(world: World, i: int) -> Steps:
    """Write a frame behind those that count; after none of them the log begins anew."""
    me, shared = world.actors[i], world.shared
    salt, free = shared.first.salt, shared.free
    if salt == 0:
        salt, free = free, free + 1
    new = changed(content(shared), me.jobs[0])
    frames = (*shared.frames[: shared.first.frames], new)
    appended = shared._replace(salt=salt, frames=frames, free=free)
    header = Header(salt, len(frames), new)
    yield "append", put(world, i, me._replace(at="commit", copy=header, data=new), appended)


def _commit(world: World, i: int) -> Steps:
    header = world.actors[i].copy
    assert header is not None
    yield from _publish(world, i, header, "commit", "done")


def _publish(world: World, i: int, header: Header, what: str, then: str) -> Steps:
    """Store the second copy; the first follows in a step of its own."""
    me = world.actors[i]._replace(at="publish", copy=header, before=then.encode())
    free = max(world.shared.free, header.salt + 1)
    shared = world.shared._replace(second=header, free=free)
    yield f"{what}: second copy", put(world, i, me, shared)


def _publish_first(world: World, i: int) -> Steps:
    me = world.actors[i]
    assert me.copy is not None
    assert me.before is not None
    then = me._replace(at=me.before.decode(), copy=None, before=None)
    yield "first copy", put(world, i, then, world.shared._replace(first=me.copy))


def _cut(world: World, i: int) -> Steps:
    me = world.actors[i]._replace(at="done")
    yield "cut the log", put(world, i, me, world.shared._replace(frames=(), salt=0))


def _done(world: World, i: int) -> Steps:
    me = world.actors[i]
    floor = world.floor if me.data is None else max(world.floor, me.data.truth)
    after = put(world, i, Actor(me.jobs[1:]), world.shared._replace(writing=None))
    yield "acknowledge", after._replace(floor=floor)


_WRITING: dict[str, Callable[[World, int], Steps]] = {
    "locked": _locked,
    "commit": _commit,
    "publish": _publish_first,
    "cut": _cut,
    "done": _done,
}


def put(world: World, i: int, actor: Actor, shared: Shared | None = None) -> World:
    actors = (*world.actors[:i], actor, *world.actors[i + 1 :])
    return world._replace(actors=actors, shared=world.shared if shared is None else shared)


# -- threads that read, through one cache


@cache
def memory(stamp: bytes) -> memoryview:
    """The same object for the same stamp: it is compared by identity."""
    return memoryview(stamp).cast("Q")


def stamp_of(world: World, first: Header, second: Header, without: Variant) -> bytes | None:
    """The stamp of a state with that header, as the library sees it."""
    seen = copy_of(first) + copy_of(second)
    if "salts" in without and first == second:
        return seen
    return seen if is_stamp(memory(seen)) else None


def with_cache(cached: Cached, act: Callable[[TopicCache], T]) -> tuple[Cached, T]:
    """Let the library's own code act on the cache."""
    real = TopicCache(memoryview(b"").cast("Q"))
    real.stamp = None if cached.stamp is None else memory(cached.stamp)
    real._seen, real._applied, real._epoch = cached.seen, cached.applied, cached.epoch
    if cached.row is not None:
        value, version = cached.row
        real.rows[KEY], real._keys[version] = (version, value, b""), KEY
    answer = act(real)
    row = real.rows.get(KEY)
    after = cached._replace(
        stamp=None if real.stamp is None else bytes(real.stamp),
        seen=real._seen,
        applied=real._applied,
        epoch=real._epoch,
        row=None if row is None else (row[1], row[0]),
    )
    return after, answer


def reader(world: World, i: int, without: Variant) -> Steps:
    """What a thread that reads can do next: `get` the row, or `pass`, which is to read another."""
    me = world.actors[i]
    if me.at == "idle" and not me.jobs:
        return
    if me.at == "idle" and me.jobs[0] == "close":
        yield from _close(world, i, without)
        return
    yield from _READING["load" if me.at == "idle" else me.at](world, i, without)


def _looked_at(world: World, i: int) -> tuple[Header, Header] | None:
    """Both copies in the memory that this thread's cache looks at; None if it was released."""
    if world.cached.dead is not None:
        return world.cached.dead
    if world.actors[i].cache != world.cached.number:
        return None
    return world.shared.first, world.shared.second


def _load(world: World, i: int, without: Variant) -> Steps:
    me = world.actors[i]
    begun = me._replace(
        at="compare first", floor=world.floor, cache=world.cached.number, stamp=world.cached.stamp
    )
    yield "begin, load the stamp", put(world, i, begun)


def _compare(world: World, i: int, without: Variant) -> Steps:
    """The copies are compared one after the other, in the order in which memory is read."""
    me, copies = world.actors[i], _looked_at(world, i)
    which = 0 if me.at.endswith("first") else 1
    half = None if me.stamp is None else me.stamp[which * COPY_BYTES :][:COPY_BYTES]
    same = copies is not None and copy_of(copies[which]) == half
    then = ("compare second" if which == 0 else "get") if same else "refresh"
    yield me.at, put(world, i, me._replace(at=then))


def _get(world: World, i: int, without: Variant) -> Steps:
    """Look into the rows; the cache may have moved on since the names were compared."""
    me, cached = world.actors[i], world.cached
    if me.jobs[0] == "pass":
        yield "pass", answered(world, i, me.floor)
    elif me.cache == cached.number and cached.row is not None:
        yield "hit", answered(world, i, cached.row[0])
    else:
        yield "no hit", put(world, i, me._replace(at="select"))


def _refresh(world: World, i: int, without: Variant) -> Steps:
    me, cached = world.actors[i], world.cached
    if me.cache != cached.number:
        # The cache that this thread had is over, and what it does to it shows nowhere.
        yield "over", put(world, i, me._replace(at="select", stamp=None))
        return
    if cached.noted is not None:
        before, seen, stamp, found = cached.noted
        ready = me._replace(at="confirm first", before=before, seen=seen, stamp=stamp, found=found)
        yield (
            "take what was noted",
            put(world, i, ready)._replace(cached=cached._replace(noted=None)),
        )
    else:
        then = "changes" if "stamp before" in without else "stamp first"
        ready = me._replace(at=then, before=cached.stamp, seen=cached.seen, stamp=None)
        yield "load what was seen", put(world, i, ready)


def _confirm(world: World, i: int, without: Variant) -> Steps:
    """Whether what was noted still holds: the copies are compared as in `_compare`."""
    me, copies = world.actors[i], _looked_at(world, i)
    which = 0 if me.at.endswith("first") else 1
    assert me.stamp is not None
    half = me.stamp[which * COPY_BYTES :][:COPY_BYTES]
    same = copies is not None and copy_of(copies[which]) == half
    then = ("confirm second" if which == 0 else "move") if same else "refresh"
    kept = me if same else me._replace(found=None, stamp=None)
    yield me.at, put(world, i, kept._replace(at=then))


def _stamp(world: World, i: int, without: Variant) -> Steps:
    me, copies = world.actors[i], _looked_at(world, i)
    if copies is None:
        yield "released", put(world, i, me._replace(at="select", stamp=None))
    elif me.at == "stamp first":
        yield "read first copy", put(world, i, me._replace(at="stamp second", copy=copies[0]))
    else:
        assert me.copy is not None
        stamp = stamp_of(world, me.copy, copies[1], without)
        found = "note" if "stamp before" in without else "changes"
        then = "select" if stamp is None else found
        yield "read second copy", put(world, i, me._replace(at=then, stamp=stamp, copy=None))


def _changes(world: World, i: int, without: Variant) -> Steps:
    ready = snapshot(world)
    if ready is None:
        return
    me, data = ready.actors[i], content(ready.shared)
    since = 0 if "since" in without else data.since
    links = "".join(f"{before}," for event, before in data.links if event > me.seen)
    until = data.head if "until" in without else data.until
    told = "".join(f"{before}," for before in data.news)
    epoch = 0 if "epoch" in without else data.epoch
    current = "gap" in without or data.head == data.folded
    found: Changes = (int(current), data.head, epoch, since, until, told)
    if data.head > me.seen and not reaches(found, me.seen):
        found = (int(current), data.head, epoch, me.seen, data.head, links)
    if not current or data.value == 0:
        then = "select"
    else:
        then = "stamp first" if "stamp before" in without else "note"
    yield "select row and changes", put(ready, i, me._replace(at=then, found=found, data=data))


def _note(world: World, i: int, without: Variant) -> Steps:
    me = world.actors[i]
    assert me.data is not None
    assert me.found is not None
    assert me.stamp is not None
    if me.cache == world.cached.number:
        noted = Noted(me.before, me.seen, me.stamp, me.found)
        world = world._replace(cached=world.cached._replace(noted=noted))
    value = me.floor if me.jobs[0] == "pass" else me.data.value
    yield "note", answered(world, i, value)


@contextmanager
def stamping_any() -> Iterator[None]:
    """Take every header for a stamp."""
    with pytest.MonkeyPatch.context() as patching:
        patching.setattr(library, "is_stamp", lambda _: True)
        yield


def _move(world: World, i: int, without: Variant) -> Steps:
    me = world.actors[i]
    assert me.found is not None
    assert me.stamp is not None
    found, stamp = me.found, memory(me.stamp)
    if "dropping" in without:
        found = (*found[:5], "")
    before = None if me.before is None else memory(me.before)

    def act(cache: TopicCache) -> bool:
        cache.header = stamp
        cache.note(Refresh(before, me.seen, stamp), found)
        with stamping_any() if "salts" in without else nullcontext():
            return cache.refresh() is not None

    moved = False
    if me.cache == world.cached.number:
        cached, moved = with_cache(world.cached, act)
        world = world._replace(cached=cached)
    if moved:
        after = me._replace(at="look", found=None)
    else:
        after = me._replace(at="refresh", stamp=None, found=None)
    yield "move", put(world, i, after)


def _select(world: World, i: int, without: Variant) -> Steps:
    ready = snapshot(world)
    if ready is None:
        return
    me, data = ready.actors[i], content(ready.shared)
    if data.head != data.folded:
        yield from _fold(ready, i)
    elif data.value == 0 and "misses" not in without:
        yield "select nothing", answered(ready, i, 0)
    else:
        then = me._replace(at="keep", data=data)
        yield "select", put(ready, i, then)


def _fold(world: World, i: int) -> Steps:
    """Fold what came without rows, in a transaction at one stroke, and read again."""
    shared = world.shared
    if shared.writing is not None:
        return
    salt = shared.first.salt or shared.free
    new = folded(content(shared))
    frames = (*shared.frames[: shared.first.frames], new)
    header = Header(salt, len(frames), new)
    free = max(shared.free, salt + 1)
    after = shared._replace(salt=salt, frames=frames, first=header, second=header, free=free)
    # What is read now is not kept: it was read in another way.
    yield "fold", put(world, i, world.actors[i]._replace(stamp=None), after)


def _keep(world: World, i: int, without: Variant) -> Steps:
    me = world.actors[i]
    assert me.data is not None
    value, row = me.data.value, (me.data.version, me.data.value, b"")
    if me.jobs[0] == "pass":
        yield "pass", answered(world, i, me.floor)
        return
    if me.stamp is not None and me.cache == world.cached.number:
        stamp = memory(me.stamp)

        def act(cache: TopicCache) -> None:
            if "keeping" in without and cache.stamp is not None:
                cache.keep(cache.stamp, KEY, row)
            else:
                cache.keep(stamp, KEY, row)

        world = world._replace(cached=with_cache(world.cached, act)[0])
    yield "keep", answered(world, i, value)


def answered(world: World, i: int, value: int) -> World:
    """The read is over. Raises `Wrong`."""
    me = world.actors[i]
    if value < me.floor:
        raise Wrong
    return put(world, i, Actor(me.jobs[1:]))._replace(floor=max(world.floor, value))


def _close(world: World, i: int, without: Variant) -> Steps:
    """All connections of this process are closed: it forks, or its log is closed and opened again.

    Where no other process has the database open, the log goes, and the memory with it.
    """
    me, shared, cached = world.actors[i], world.shared, world.cached
    fresh = Cached(number=cached.number + 1)
    if "release" in without:
        fresh = cached._replace(dead=(shared.first, shared.second))
    left = put(world._replace(cached=fresh), i, Actor(me.jobs[1:]))
    yield "close, others stay", left
    ready = snapshot(left)
    if shared.writing is None and ready is not None:
        whole = Shared(content(ready.shared), 0, (), NO_LOG, NO_LOG, None, shared.free)
        yield "close, the last", left._replace(shared=whole)


_READING: dict[str, Callable[[World, int, Variant], Steps]] = {
    "load": _load,
    "compare first": _compare,
    "compare second": _compare,
    "get": _get,
    "refresh": _refresh,
    "stamp first": _stamp,
    "stamp second": _stamp,
    "changes": _changes,
    "note": _note,
    "confirm first": _confirm,
    "confirm second": _confirm,
    "move": _move,
    "look": _get,
    "select": _select,
    "keep": _keep,
}


# -- every order


def steps(world: World, without: Variant) -> Steps:
    """Every step that can be next."""
    for i, actor in enumerate(world.actors):
        if actor.jobs and actor.jobs[0] in ("get", "pass", "close"):
            yield from ((f"{i} {label}", after) for label, after in reader(world, i, without))
        else:
            yield from ((f"{i} {label}", after) for label, after in writer(world, i))


class Walk(NamedTuple):
    """How many worlds there are, how many reads the cache answered in them, and how a wrong answer
    came about, if one did."""

    worlds: int
    hits: int
    wrong: list[str] | None


def walk(start: World, without: Variant = frozenset()) -> Walk:
    """Go through every world that can be reached, until a read is wrong."""
    known: dict[World, tuple[World, str] | None] = {start: None}
    waiting, hits = [start], 0
    while waiting:
        world = waiting.pop()
        following = steps(world, without)
        while True:
            try:
                label, after = next(following)
            except StopIteration:
                break
            except Wrong:
                return Walk(len(known), hits, [*way_to(world, known), "a read answers too little"])
            hits += label.endswith(" hit") and not label.endswith("no hit")
            if after not in known:
                known[after] = (world, label)
                waiting.append(after)
    return Walk(len(known), hits, None)


def way_to(world: World, known: dict[World, tuple[World, str] | None]) -> list[str]:
    """The steps that led there."""
    way: list[str] = []
    while (before := known[world]) is not None:
        world, label = before
        way.append(label)
    return way[::-1]
