"""A small world around the library's cache, to walk every order of what can happen.

One session K has a row on two servers. Server 0 is the primary until `swap`; then server 1 is, and
nothing that server 0 still does is acknowledged. Each actor does its jobs one after the other. A
job takes several steps, and the steps of all actors meet in every order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from sessionledger.logs.base import KeyState
from sessionledger.logs.postgres.staleness import confirmed_rows as library
from sessionledger.logs.postgres.staleness.confirmed_rows import (
    ConfirmedRows,
    Passed,
    Round,
)

K, OTHER = b"K", b"other"
LIVE, ENDED = 9, 0
BOUND = 2
PAGE = 2
"""Events in a round, the one at the cursor included."""

Variant: TypeAlias = frozenset[str]


class Wrong(Exception):
    """An ended session was answered as live for too long."""


class Server(NamedTuple):
    """The events of the topic, what the row of K says (None: a mark ended it), and the epoch."""

    events: tuple[Passed, ...]
    row: KeyState | None
    epoch: str = "0"

    @property
    def head(self) -> Passed:
        return self.events[-1]

    def append(self, key: bytes | None, hash: str) -> Server:
        event = Passed(self.head.id + 1, hash, key)
        row = (event.id, ENDED, b"") if key == K else None if key is None else self.row
        return Server((*self.events, event), row, self.epoch)


class Cached(NamedTuple):
    """What `ConfirmedRows` holds."""

    rows: tuple[tuple[bytes, KeyState], ...] = ()
    ahead: tuple[tuple[bytes, tuple[int, str, KeyState]], ...] = ()
    window: tuple[int, int, int, int] = library._NEVER
    cursor: int = 0
    hash: str | None = None
    epoch: str | None = None
    generation: int = 0
    written: int = 0


class Actor(NamedTuple):
    """The jobs that are left, the step of the first one, and what was learnt in it."""

    jobs: tuple[str, ...]
    at: int = 0
    learnt: tuple[Any, ...] = ()


class World(NamedTuple):
    """boot, wall: what the clocks show, beside the true time. ended_at: when the end of K was
    acknowledged. own: whether this process had its own end of K answered."""

    servers: tuple[Server, Server]
    cached: Cached
    actors: tuple[Actor, ...]
    primary: int = 0
    tail_at: int = 0
    pool_at: int = 0
    time: int = 0
    boot: int = 0
    wall: int = 0
    ended_at: int | None = None
    own: bool = False
    hits: int = 0


Steps: TypeAlias = Iterator[tuple[str, World]]


def with_cache(world: World, act: Callable[[ConfirmedRows], object], without: Variant) -> World:
    """Let the library's own code act on the cache."""
    cached = world.cached
    real = _variant_of(without)(BOUND)
    real._rows.update(cached.rows)
    real._ahead = dict(cached.ahead)
    real._window, real.cursor, real._hash = cached.window, cached.cursor, cached.hash
    real._epoch, real.generation, real._written = cached.epoch, cached.generation, cached.written
    act(real)
    after = Cached(
        tuple(real._rows.items()),
        tuple(real._ahead.items()),
        real._window,
        real.cursor,
        real._hash,
        real._epoch,
        real.generation,
        real._written,
    )
    return world._replace(cached=after)


def _variant_of(without: Variant) -> type[ConfirmedRows]:
    """The library's class, or one that leaves out a rule."""

    class Careless(ConfirmedRows):
        def offer(
            self, generation: int, head: int, hash: str | None, rows: Mapping[bytes, KeyState]
        ) -> None:
            if "generation" in without:
                generation = self.generation
            if "row hash" in without and head == self.cursor:
                hash = self._hash
            if "passed" in without and head < self.cursor:
                head, hash = self.cursor, self._hash
            if "ahead" in without and head > self.cursor:
                self._keep(rows)
            super().offer(generation, head, hash, rows)

        def wrote(self, keys: Any, newest: int) -> None:
            super().wrote(keys, 0 if "written" in without else newest)

        def advance(self, round: Round) -> bool:
            if "epoch" in without:
                round = round._replace(epoch=self._epoch)
            if "marks" in without:
                events = [e if e.key else e._replace(key=OTHER) for e in round.events]
                round = round._replace(events=events)
            if "head" in without:
                round = round._replace(head=0)
            return super().advance(round)

        def _follows(self, round: Round) -> bool:
            if "cursor hash" in without:
                return bool(round.events) and round.events[0].id == self.cursor
            return super()._follows(round)

    return Careless if without else ConfirmedRows


def go_on(world: World, i: int, *learnt: Any) -> World:
    me = world.actors[i]
    return _put(world, i, Actor(me.jobs, me.at + 1, (*me.learnt, *learnt)))


def done(world: World, i: int) -> World:
    return _put(world, i, Actor(world.actors[i].jobs[1:]))


def _put(world: World, i: int, actor: Actor) -> World:
    return world._replace(actors=(*world.actors[:i], actor, *world.actors[i + 1 :]))


# -- what others do, each in one step


def _write(world: World, key: bytes | None, server: int) -> World:
    ends = key in (K, None) and server == world.primary
    hash = f"{server}.{world.servers[server].head.id + 1}"
    servers = list(world.servers)
    servers[server] = servers[server].append(key, hash)
    ended_at = world.time if ends and world.ended_at is None else world.ended_at
    return world._replace(servers=(servers[0], servers[1]), ended_at=ended_at)


def _rebuild(world: World) -> World:
    """The row of K was wrong, and is right afterwards."""
    server = world.servers[world.primary]
    servers = list(world.servers)
    servers[world.primary] = server._replace(row=(server.head.id, ENDED, b""), epoch="1")
    return world._replace(servers=(servers[0], servers[1]), ended_at=world.time)


OTHERS: dict[str, Callable[[World], World]] = {
    "revoke": lambda w: _write(w, K, w.primary),
    "other": lambda w: _write(w, OTHER, w.primary),
    "mark": lambda w: _write(w, None, w.primary),
    "unacknowledged": lambda w: _write(w, OTHER, 0),
    "rebuild": _rebuild,
    "swap": lambda w: w._replace(primary=1),
    "tail moves": lambda w: w._replace(tail_at=1),
    "pool moves": lambda w: w._replace(pool_at=1),
    "tick": lambda w: w._replace(time=w.time + 1, boot=w.boot + 1, wall=w.wall + 1),
    "stop": lambda w: w._replace(time=w.time + 3, boot=w.boot + 3, wall=w.wall + 3),
    "freeze": lambda w: w._replace(time=w.time + 3, wall=w.wall + 3),
    "set back": lambda w: w._replace(time=w.time + 3, boot=w.boot + 3),
    "freeze and set back": lambda w: w._replace(time=w.time + 3, wall=w.wall - 1),
}


# -- what this process does


def _tail(world: World, i: int, without: Variant) -> Steps:
    me, cached = world.actors[i], world.cached
    server = world.servers[world.tail_at]
    if me.at == 0:
        yield "note the time", go_on(world, i, (world.boot, world.wall))
    elif me.at == 1:
        news = [one for one in server.events if one.id >= cached.cursor][:PAGE]
        events = tuple(news if cached.cursor else server.events[-1:])
        yield "read", go_on(world, i, server.head.id, server.epoch, events, world.tail_at)
    elif me.at == 2:
        if "heartbeat" in without or me.learnt[4] == world.primary:
            yield "commit", go_on(world, i)
        else:
            yield "no answer", done(world, i)
    elif me.at == 3:
        asked_at = (world.boot, world.wall) if "t0" in without else me.learnt[0]
        one = Round(asked_at, *me.learnt[1:4])
        moved = with_cache(world, lambda cache: cache.advance(one), without)
        window = moved.cached.window
        if "window last" in without:
            early = world._replace(cached=cached._replace(window=window))
            yield "confirm", go_on(early, i, moved.cached)
        else:
            kept = moved.cached._replace(window=cached.window)
            yield "apply", go_on(moved._replace(cached=kept), i, moved.cached)
    elif me.learnt[5].generation < cached.generation or cached.written > me.learnt[5].written:
        return  # the lock would have kept the write out until now
    elif "window last" in without:
        yield "apply", done(world._replace(cached=me.learnt[5]), i)
    else:
        new = cached._replace(window=me.learnt[5].window)
        yield "confirm", done(world._replace(cached=new), i)


def _read(world: World, i: int, without: Variant) -> Steps:
    """A row that was not kept is read, and offered to the cache."""
    me, server = world.actors[i], world.servers[world.pool_at]
    if me.at == 0:
        yield "note the generation", go_on(world, i, world.cached.generation)
    elif me.at == 1:
        yield "select", go_on(world, i, server.head.id, server.head.hash, server.row)
    else:
        generation, head, hash, row = me.learnt
        rows = {} if row is None else {K: row}
        act: Callable[[ConfirmedRows], None] = lambda c: c.offer(generation, head, hash, rows)  # noqa: E731
        yield "offer", done(with_cache(world, act, without), i)


def _own(world: World, i: int, without: Variant) -> Steps:
    """This process ends K."""
    me = world.actors[i]
    if me.at == 0:
        newest = world.servers[world.primary].head.id + 1
        yield "append", go_on(_write(world, K, world.primary), i, newest)
    elif me.at == 1:
        if "own" not in without:
            newest = me.learnt[0]
            world = with_cache(world, lambda cache: cache.wrote([K], newest), without)
        yield "drop", go_on(world, i)
    else:
        yield "answer", done(world._replace(own=True), i)


LOOKUP = ("window", "row", "clocks")
"""The order of `ConfirmedRows.find`, which `test_confirmed_rows.py` holds it to."""


def _look(world: World, i: int, without: Variant) -> Steps:
    me, order = world.actors[i], LOOKUP
    if "window first" in without:
        order = ("row", "window", "clocks")
    if "clocks last" in without:
        order = ("clocks", "window", "row")
    if me.at == 0:
        yield "begin", go_on(world, i, ("own", world.own))
    elif me.at <= len(LOOKUP):
        taken = {
            "window": world.cached.window,
            "row": dict(world.cached.rows).get(K),
            "clocks": (world.boot, world.wall),
        }
        what = order[me.at - 1]
        after = go_on(world, i, (what, taken[what]))
        yield what, _answer(after, i, without) if me.at == len(LOOKUP) else after


def _answer(world: World, i: int, without: Variant) -> World:
    told = dict(world.actors[i].learnt)
    (from_boot, to_boot, from_wall, to_wall), (boot, wall) = told["window"], told["clocks"]
    if "backwards" in without:
        from_boot, from_wall = (-99 if to_boot else from_boot), (-99 if to_wall else from_wall)
    is_fresh = ("boot" in without or from_boot <= boot <= to_boot) and (
        "wall" in without or from_wall <= wall <= to_wall
    )
    row = told["row"]
    if row is None or not is_fresh:
        return done(world, i)
    is_old = world.ended_at is not None and world.time - world.ended_at > BOUND
    if row[1] == LIVE and (is_old or told["own"]):
        raise Wrong
    return done(world, i)._replace(hits=1)


PROCESS = {"round": _tail, "read": _read, "own revoke": _own, "look": _look}


# -- every order


def steps(world: World, without: Variant) -> Steps:
    """Every step that can be next."""
    for i, actor in enumerate(world.actors):
        if not actor.jobs:
            continue
        job = actor.jobs[0]
        if job in OTHERS:
            yield f"{i} {job}", done(OTHERS[job](world), i)
        else:
            yield from ((f"{i} {job}: {said}", w) for said, w in PROCESS[job](world, i, without))


class Walk(NamedTuple):
    """How many worlds there are, whether the cache answered in one, and the steps to a wrong
    answer."""

    worlds: int
    hits: bool
    wrong: list[str] | None


def walk(start: World, without: Variant = frozenset()) -> Walk:
    """Go through every world that can be reached, until a lookup is wrong."""
    known: dict[World, tuple[World, str] | None] = {start: None}
    waiting, hits = [start], False
    while waiting:
        world = waiting.pop()
        try:
            for label, after in steps(world, without):
                hits = hits or bool(after.hits)
                if after not in known:
                    known[after] = (world, label)
                    waiting.append(after)
        except Wrong:
            return Walk(len(known), hits, [*_way_to(world, known), "a stale answer"])
    return Walk(len(known), hits, None)


def _way_to(world: World, known: dict[World, tuple[World, str] | None]) -> list[str]:
    way: list[str] = []
    while (before := known[world]) is not None:
        world, label = before
        way.append(label)
    return way[::-1]
