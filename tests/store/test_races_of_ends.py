"""Ends that race with whatever begins: nothing that began before one is answered after it.

In a round one thread or process ends sessions, two begin some, by logging in, rotating and as
children, and all read them. Whether a read came after the end was acknowledged is told by a clock
that all of them share. What began before the end is told by the order of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from itertools import cycle, islice
from typing import Any, NamedTuple

import pytest

from sessionledger import StoredEvent
from tests.store.racing import LAST, Arena, Call, Processes, call, fresh, opened_arena
from tests.store.test_races_of_calls import begun, check_whole, handle

SECOND = timedelta(seconds=1)
RETENTION = timedelta(days=2)
READS = 24
MOST = 3
ENDS = [
    "revoke_everybody",
    "revoke_all",
    "revoke_where",
    "revoke",
    "expire",
    "log_out_everywhere",
    "change_credentials",
]
ROUNDS = pytest.mark.parametrize(
    "rounds",
    [pytest.param(8, marks=pytest.mark.middle), pytest.param(300, marks=pytest.mark.slow)],
)
ARENAS = [
    *("threads-memory", "threads-sqlite", "threads-file", "processes-sqlite", "processes-file"),
    pytest.param("processes-postgresql", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module", params=ARENAS)
def arena(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    with ExitStack() as opened:
        racing = opened_arena(request.param, tmp_path_factory.mktemp("ends") / "ledger", opened)
        if isinstance(racing, Processes):
            # By less than two clocks may differ. The reader's is right, as is ours.
            racing.skews = (0 * SECOND, 25 * SECOND, -25 * SECOND, 0 * SECOND)
        yield racing
        check_whole(racing)


class Begun(NamedTuple):
    """A session as the log tells its beginning."""

    id: int
    principal: str
    families: tuple[str, ...]
    """Its own family, and those it is below."""
    above: tuple[str, ...]
    """The principals of those it is below."""


def beginnings(events: Iterable[StoredEvent]) -> dict[str, Begun]:
    """The sessions that began, by their handles."""
    found: dict[str, Begun] = {}
    for event in events:
        if event.kind == "session_created":
            record = event.value["record"]
            name, ancestors = record["token_handle"], record.get("ancestors") or []
            families = (record.get("family") or name, *(one["family"] for one in ancestors))
            above = tuple(one["principal"] for one in ancestors)
            found[name] = Begun(event.id, record["principal"], families, above)
    return found


class Scene(NamedTuple):
    """What there is before a round: a login, a child of it, and another login of its principal."""

    who: str
    parent: str
    child: str
    other: str

    @property
    def tokens(self) -> tuple[str, str, str]:
        return self.parent, self.child, self.other


def scene(arena: Arena, number: int) -> Scene:
    who = fresh("user-")
    parent, other = begun(arena, principal=who), begun(arena, principal=who)
    if number % 2:
        rotated = arena.store.rotate(other)
        assert rotated is not None
        other = rotated.token
    return Scene(who, parent, begun(arena, principal=fresh("bot-"), parent=parent), other)


def end_of(how: str, one: Scene, reason: str) -> tuple[Call, Callable[[Begun], bool]]:
    """The call that ends, and whether it concerns a session."""
    named: dict[str, dict[str, Any]] = {
        "revoke_everybody": {},
        "revoke_all": {"principal": one.who},
        "revoke_where": {"principals": [one.who]},
        "revoke": {"handle": handle(one.parent)},
    }
    made = call(how, **named.get(how, {"token": one.parent}), reason=reason)
    if how == "revoke_everybody":
        return made, lambda _: True
    if how in ("revoke", "expire"):
        return made, lambda session: handle(one.parent) in session.families
    return made, lambda session: one.who in (session.principal, *session.above)


def moment(events: Iterable[StoredEvent], reason: str) -> int:
    """Where in the log the end with this reason is: the last of its events."""
    said = [one for one in events if one.headers.get("sessionledger.reason") == reason]
    return max(one.id for one in said if one.kind != "session_created")


def reads(tokens: Iterable[str], ways: tuple[str, ...] = ("get", "authenticate")) -> list[Call]:
    pairs = zip(cycle(ways), cycle(tokens), strict=False)
    return [call(name, token=token) for name, token in islice(pairs, READS)]


@ROUNDS
@pytest.mark.parametrize("how", ENDS)
def test_nothing_that_began_before_an_end_is_answered_after_it(
    arena: Arena, rounds: int, how: str
) -> None:
    for number in range(rounds):
        race_an_end(arena, how, number)
        if number % 8 == 0:
            arena.store.sweep()


def race_an_end(arena: Arena, how: str, number: int) -> tuple[int, int]:
    """A round: how many reads found a session, and how many were after the end."""
    compacts = number % 4 == 3 and arena.store._log.compactable() is not None
    if compacts:
        # All earlier rounds are older than the retention then, and so is what lifts their marks.
        while arena.store.sweep():
            pass
        arena.clock.advance(RETENTION + timedelta(days=1))
    head = arena.store.head().id
    one, reason = scene(arena, number), fresh("end-")
    made, concerns = end_of(how, one, reason)
    login, job = fresh(), fresh()
    tokens = (*one.tokens, login, job)
    # Folding all rows again amid an end takes nothing back, and neither does a compaction.
    rebuilding = [call("rebuild")] if number % 16 in (1, 11) else []
    compacting = [call("compact", retention=RETENTION.total_seconds())] if compacts else []
    *others, ender = arena.race_all(
        [*compacting, *reads(tokens)[:4], *reads(tokens)],
        [
            *rebuilding,
            call("create", principal=one.who, token=login),
            call("rotate", token=one.parent),
            call("create", principal=fresh("bot-"), parent=LAST),
            *reads([LAST, one.parent])[:4],
            call("rotate", token=login, grace=0),
            *reads([LAST, login])[:4],
        ],
        [
            call("create", principal=fresh("bot-"), parent=one.parent, token=job),
            call("rotate", token=one.child),
            call("create", principal=fresh("tool-"), parent=LAST),
            *reads([LAST, one.child])[:4],
            call("rotate", token=one.other),
            *reads([LAST, one.other])[:4],
        ],
        [made, *reads(tokens)],
    )
    ended, *_ = ender
    assert ended.error is None
    if compacts:
        compacted = others[0][0]
        if not rebuilding or compacted.error != "maintenance_running":
            assert compacted.error is None
            assert compacted.number
    events = list(arena.store.events(after=head))
    at = ended.number if how == "revoke_everybody" else moment(events, reason)
    assert at is not None
    known = beginnings(events)
    over = {name for name, session in known.items() if session.id < at and concerns(session)}
    for session in known.values():
        # Who goes on with a session, or is below one, began before it ended.
        assert session.id < at or over.isdisjoint(session.families)
    answers = [answer for answers in (*others, ender[1:]) for answer in answers if answer.found]
    late = [answer for answer in answers if answer.began >= ended.done]
    assert not [answer for answer in late if answer.handle in over]
    assert not any(arena.store.find(handle=name) for name in over)
    assert {handle(token) for token in (one.parent, one.child)} <= over
    return len(answers), len(late)


@ROUNDS
@pytest.mark.parametrize("policy", ["denying", "evicting"])
def test_nobody_ever_sees_more_than_a_limit_allows(arena: Arena, rounds: int, policy: str) -> None:
    """Neither of logins nor of children, while some begin and some end."""
    for number in range(rounds):
        who, bot = fresh("user-"), fresh("bot-")
        parent = begun(arena, principal=who)
        create, child = (
            call("create", principal=who, policy=policy),
            call("create", principal=bot, parent=parent, policy=policy),
        )
        ends = [
            call("revoke_all", principal=who, policy=policy),
            call("revoke", handle=handle(parent), policy=policy),
            call("rotate", token=parent, policy=policy),
            call("revoke_everybody", policy=policy),
        ]
        counting = [call("count", principal=name) for name in (who, bot)] * READS
        reader, *begins, _ = arena.race_all(
            counting, [create, child] * 3, [child, create] * 3, [create, ends[number % 4], create]
        )
        counts = [answer.number for answer in reader]
        counts += [arena.store.count(principal=name) for name in (who, bot)]
        assert all(count is not None and count <= MOST for count in counts)
        refused = {answer.error for answers in begins for answer in answers}
        assert refused <= {None, "session_limit_reached", "invalid_session"}
        if number % 4 == 1:
            assert not arena.store.count(principal=bot)
