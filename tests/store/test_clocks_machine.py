"""Any sequence of calls of three processes whose clocks differ and jump: what ends stays ended.

`test_machine` compares every answer with a model, at one clock. This one knows less, and takes what
is active from the ledger. Before each call it works out whom the call has to end. Afterwards it
holds the promises: those are over for every process, nobody else is without a reason, children are
within their parents, and the reference sees the same ends.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, ClassVar, NamedTuple, cast
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sessionledger import (
    CaughtUp,
    Change,
    ClockJumped,
    InvalidSession,
    IssuedSession,
    LogEvent,
    Policy,
    RotationLimitReached,
    Session,
    SessionLimitReached,
    SessionStore,
    Unit,
)
from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.operations import create, rotation
from sessionledger.testing.clock import NOON, Clock
from tests import reference_fold
from tests.store.facade import URLS, Bench, Kind
from tests.store.test_machine import handle
from tests.tiers import examples

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
MOST, MOST_CHILDREN, DEEPEST, FAMILY = 3, 3, 3, 3
PRINCIPALS = ["alice", "bob", "bot"]
principals = st.sampled_from(PRINCIPALS)
RIGHTS = {"role": "admin", "tenant": 7, "scope": "read write"}
rights = st.sampled_from([{}, {"role": "admin"}, {"tenant": 7, "scope": "read"}, RIGHTS])
changes = st.sampled_from([{"role": None}, {"tenant": 8}, {"scope": "write"}, {"new": 1}])
graces = st.sampled_from([None, 0 * SECOND, HOUR])
numbers = st.integers(0, 2)
# A few seconds, within the tolerance, beyond it, and by hours.
jumps = st.sampled_from([-3 * HOUR, -90 * SECOND, -SECOND, 45 * SECOND, 150 * SECOND, 2 * HOUR])
POLICIES = [
    Policy(ttl=HOUR, max_children=MOST_CHILDREN, max_family=FAMILY),
    Policy(
        ttl=3 * HOUR,
        idle_timeout=HOUR,
        max_sessions_per_principal=MOST,
        on_limit="evict_oldest",
        max_children=MOST_CHILDREN,
        max_family=FAMILY,
    ),
]
REFUSED = (InvalidSession, SessionLimitReached, RotationLimitReached)


class Process(NamedTuple):
    """A store as a process of its own has it: with its own log, unless in memory, and clock."""

    store: SessionStore
    clock: Clock


class Machine(RuleBasedStateMachine):
    """Three processes on one ledger, and whom they ended."""

    backend: ClassVar[str]
    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.bench = Bench(Kind("sync", self.backend), self.place / "ledger", durability="normal")
        # The order of handles is that of some listings, so a sequence of calls has to repeat it.
        self.repeatable = ExitStack()
        chosen = Random(0).randbytes
        for module in (create, rotation):
            self.repeatable.enter_context(patch.object(module, "urandom", chosen))
        self.processes: list[Process] = []
        self.over: set[str] = set()
        self.ended_by_reference: set[str] = set()
        self.told: list[int] = []
        self.with_siblings: set[str] = set()

    def teardown(self) -> None:
        try:
            if self.processes:
                self.nothing_is_wrong_with_the_ledger()
        finally:
            self.repeatable.close()
            self.bench.close()
            shutil.rmtree(self.place)

    @initialize(
        target=tokens, policy=st.sampled_from(POLICIES), offsets=st.tuples(jumps, jumps, jumps)
    )
    def begin(self, policy: Policy, offsets: tuple[timedelta, ...]) -> Any:
        """A login with two children, since most calls concern these."""
        self.policy = policy
        shared = None if self.bench.persists else self.bench.log()
        for offset in offsets:
            clock = Clock(NOON + offset)
            store = self.bench.on(shared or self.bench.log(), policy=policy, clock=clock)
            self.processes.append(Process(store, clock))
        if self.bench.persists:
            self.stranger = self.bench.log()
        store = self.processes[0].store
        login = store.create("alice", attributes=RIGHTS).token
        child = store.create("bot", parent=login, attributes=RIGHTS).token
        below = store.create("bob", parent=child, attributes={"scope": "read"}).token
        return multiple(login, login, child, below)

    # -- what is active, and whom an end concerns

    def sessions(self, number: int = 0) -> dict[str, Session]:
        """All sessions that ever began, as a process lists them."""
        listed = self.processes[number].store.sessions(state="all", superseded=True)
        return {session.handle: session for session in listed}

    def active(self) -> dict[str, Session]:
        return {name: one for name, one in self.sessions().items() if one.ended_at is None}

    def ends(
        self,
        call: Callable[[], Any],
        which: Callable[[Session], bool] = lambda _: False,
        *,
        causes: tuple[str, ...] = (),
    ) -> Any:
        """Make a call, which has to end those, and all below whose parent is over by then.

        Nobody else ends, but for these causes. What was begun meanwhile is told by its answer.
        """
        before = self.active()
        expected = {name for name, one in before.items() if which(one)}
        expected |= orphans(before, expected)
        try:
            answer = call()
        except REFUSED as error:
            answer = error
        after = self.sessions()
        ended = {name for name in before if after[name].ended_at is not None}
        assert expected <= ended
        for name in ended - expected:
            assert after[name].cause in (*causes, "parent_ended"), after[name]
        self.over |= ended
        return answer

    # -- beginning, and going on

    @rule(target=tokens, number=numbers, who=principals, data=rights)
    def create(self, number: int, who: str, data: dict[str, Any]) -> Any:
        store = self.processes[number].store
        made = self.ends(lambda: store.create(who, attributes=data), causes=("evicted", "lapsed"))
        return self.issued(made, number)

    @rule(
        target=tokens,
        number=numbers,
        who=principals,
        parent=tokens,
        by_handle=st.booleans(),
        data=rights,
        ttl=st.none() | st.just(2 * HOUR),
    )
    def child(
        self,
        number: int,
        who: str,
        parent: str,
        by_handle: bool,
        data: dict[str, Any],
        ttl: timedelta | None,
    ) -> Any:
        above = self.active().get(handle(parent))
        store, named = self.processes[number].store, handle(parent) if by_handle else parent
        made = self.ends(
            lambda: store.create(who, parent=named, attributes=data, ttl=ttl),
            self.reused(parent, number, not by_handle),
            causes=("evicted", "lapsed"),
        )
        if above is None or above.is_expired_at(self.processes[number].clock.now):
            assert not isinstance(made, Session), "a child of what was over"
        if isinstance(made, Session):
            assert above is not None
            assert made.ancestors[0].family == (above.family or above.handle)
        return self.issued(made, number)

    def issued(self, made: Any, number: int) -> Any:
        if not isinstance(made, IssuedSession):
            return multiple()
        if made.handle not in self.over:
            assert self.processes[number].store.get(made.token) == made
        return made.token

    @rule(number=numbers, token=tokens, less=st.booleans(), data=st.none() | rights)
    def touch(self, number: int, token: str, less: bool, data: dict[str, Any] | None) -> None:
        store = self.processes[number].store
        ttl = 300 * SECOND if less else None
        seen = self.ends(lambda: store.touch(token, attributes=data, ttl=ttl))
        self.only_the_living(token, seen)

    @rule(number=numbers, token=tokens)
    def authenticate(self, number: int, token: str) -> None:
        store = self.processes[number].store
        reused = self.reused(token, number)
        self.only_the_living(token, self.ends(lambda: store.authenticate(token), reused))

    @rule(number=numbers, token=tokens, changed=changes)
    def patch(self, number: int, token: str, changed: dict[str, Any]) -> None:
        store = self.processes[number].store
        self.only_the_living(token, self.ends(lambda: store.patch(token, changed)))

    def only_the_living(self, token: str, answer: object) -> None:
        assert handle(token) not in self.over or not isinstance(answer, Session)

    @rule(target=tokens, number=numbers, token=tokens, grace=graces, who=st.none() | principals)
    def rotate(self, number: int, token: str, grace: timedelta | None, who: str | None) -> Any:
        store, reused = self.processes[number].store, self.reused(token, number)
        made = self.ends(
            lambda: store.rotate(token, grace=grace, principal=who),
            reused,
            causes=("rotated", "evicted", "lapsed"),
        )
        old = self.sessions()[handle(token)]
        if len(old.successors) > 1:
            self.with_siblings.add(family_of(old))
        return self.issued(made, number)

    @rule(target=tokens, number=numbers, token=tokens)
    def change_credentials(self, number: int, token: str) -> Any:
        store, clock = self.processes[number]
        old, reused = self.sessions()[handle(token)], self.reused(token, number)
        is_live = self.stands(old, clock) and not old.ancestors and not reused(old)
        made = self.ends(
            lambda: store.change_credentials(token),
            lambda one: reused(one) or (is_live and one.principal == old.principal),
        )
        assert isinstance(made, IssuedSession) == is_live
        return self.issued(made, number)

    def stands(self, session: Session, clock: Clock) -> bool:
        """Whether a token can be replaced: something of its family is live and was not rotated."""
        family = [one for one in self.active().values() if family_of(one) == family_of(session)]
        live = [one for one in family if not one.is_expired_at(clock.now)]
        leaf = any(not one.successors for one in live) or not session.successors
        return leaf and not session.is_expired_at(clock.now)

    def reused(self, token: str, number: int, presented: bool = True) -> Callable[[Session], bool]:
        """Whom presenting a token ends: its family, if its grace is over by every clock."""
        session = self.sessions()[handle(token)]
        end = session.deadline or session.expires_at
        long_over = self.processes[number].clock.now - end >= CLOCK_TOLERANCE
        on_purpose = ("revoked", "signed_out", "parent_ended", "everybody")
        is_reuse = (
            presented
            and session.successors
            and session.cause not in on_purpose
            and (long_over or session.cause == "rotated")
        )
        return lambda one: bool(is_reuse) and family_of(one) == family_of(session)

    # -- ending

    @rule(number=numbers, token=tokens, by_handle=st.booleans())
    def end(self, number: int, token: str, by_handle: bool) -> None:
        store, family = self.processes[number].store, family_of(self.sessions()[handle(token)])
        self.ends(
            (lambda: store.revoke(handle=handle(token)))
            if by_handle
            else (lambda: store.expire(token)),
            lambda one: family_of(one) == family,
        )
        assert handle(token) in self.over

    @precondition(lambda self: self.bench.persists)
    @rule(token=tokens)
    def the_reference_ends(self, token: str) -> None:
        """It knows no families and no children, and writes no rows."""
        self.ended_by_reference.add(handle(token))
        told = {"token_handle": handle(token), "expired_at": "2026-05-02T12:00:00Z"}
        event = LogEvent.of("session_expired", told, occurred_at_ms=1)
        self.ends(
            lambda: self.stranger.append(SESSIONS_TOPIC, [Unit([Change(event)])]),
            lambda one: one.handle == handle(token),
        )

    @rule(number=numbers, who=principals, kept=st.lists(tokens, max_size=2))
    def revoke_all(self, number: int, who: str, kept: list[str]) -> None:
        store, keep = self.processes[number].store, [handle(token) for token in kept]
        active = self.active().values()
        going = [one for one in active if one.principal == who and not stays(one, keep)]
        staying = {family_of(one) for one in active if one.principal == who and stays(one, keep)}
        ended = self.ends(lambda: store.revoke_all(who, keep=keep), lambda one: one in going)
        assert ended == len({family_of(one) for one in going} - staying)

    @rule(number=numbers, token=tokens)
    def log_out_everywhere(self, number: int, token: str) -> None:
        store, session = self.processes[number].store, self.sessions()[handle(token)]
        reused, is_child = self.reused(token, number), bool(session.ancestors)
        goes_on = session.ended_at is None and not is_child and not reused(session)
        self.ends(
            lambda: store.log_out_everywhere(token),
            lambda one: reused(one) or (goes_on and one.principal == session.principal),
        )

    @rule(
        number=numbers,
        who=st.none() | st.lists(principals, min_size=1, max_size=2),
        data=st.none() | st.sampled_from([{"role": "admin"}, {"tenant": 7}]),
        before=st.none() | jumps,
    )
    def revoke_where(
        self,
        number: int,
        who: list[str] | None,
        data: dict[str, Any] | None,
        before: timedelta | None,
    ) -> None:
        """Whole logins, whoever of them meets the criteria, and all below them."""
        store, clock = self.processes[number]
        until = None if before is None else NOON + before
        criteria: dict[str, Any] = {"principals": who, "attributes": data, "begun_before": until}
        if not any(criteria.values()):
            with pytest.raises(InvalidSession):
                store.revoke_where(**criteria)
            return
        logins = {
            family_of(one)
            for one in self.active().values()
            if (who is None or one.principal in who)
            and (data is None or data.items() <= one.attributes.items())
            and (until is None or one.created_at < until)
            and not (
                (one.successors or one.superseded_by)
                and clock.now - one.expires_at > CLOCK_TOLERANCE
            )
        }
        assert store.revoke_where(**criteria, dry_run=True) == len(logins)
        ended = self.ends(
            lambda: store.revoke_where(**criteria), lambda one: family_of(one) in logins
        )
        assert ended == len(logins)

    @rule(number=numbers)
    def revoke_everybody(self, number: int) -> None:
        store = self.processes[number].store
        self.ends(store.revoke_everybody, lambda _: True)
        assert not self.active()
        assert [one.store.count() for one in self.processes] == [0, 0, 0]

    @rule(number=numbers, limit=st.sampled_from([1, 2, 1000]))
    def sweep(self, number: int, limit: int) -> None:
        """Which of the clocks is right nobody can tell. What lapsed waits, marked ones do not."""
        store, clock = self.processes[number]
        lapsed = {name for name, one in self.active().items() if one.is_expired_at(clock.now)}

        def sweep() -> None:
            with suppress(ClockJumped):
                store.sweep(limit=limit)

        over = set(self.over)
        self.ends(sweep, causes=("lapsed",))
        swept = self.over - over
        assert all(
            name in lapsed or self.sessions()[name].cause == "parent_ended" for name in swept
        )

    # -- what happens around them

    @rule(number=numbers, span=jumps)
    def a_clock_jumps(self, number: int, span: timedelta) -> None:
        self.processes[number].clock.advance(span)

    @rule(span=st.sampled_from([SECOND, 70 * SECOND, HOUR]))
    def time_passes(self, span: timedelta) -> None:
        for process in self.processes:
            process.clock.advance(span)

    @rule(number=numbers)
    def rebuild(self, number: int) -> None:
        before = self.sessions()
        self.processes[number].store.rebuild()
        assert self.sessions() == before

    @rule(number=numbers, token=tokens)
    def history(self, number: int, token: str) -> None:
        """It tells an end of its own, or else the mark. Such an end that the reference appended
        stands for a mark before it, with a cause that is not the mark's."""
        store, ended = self.processes[number].store, self.sessions()[handle(token)]
        causes = [entry.cause for entry in store.history(handle=handle(token)) if entry.cause]
        may_be_hidden = ended.cause == "everybody" and handle(token) in self.ended_by_reference
        told = causes[0] if causes else None
        assert told == ended.cause or (may_be_hidden and told == "signed_out")

    @rule(number=numbers)
    def watch(self, number: int) -> None:
        """From wherever: all events but those that end a mark, in order, to the newest one."""
        after, told = self.told[-1] if self.told else 0, []
        for happened in self.processes[number].store.watch(after=after):
            if isinstance(happened, CaughtUp):
                break
            told.append(happened.event_id)
        events = list(self.processes[number].store.events(after=after))
        silent = ("everybody_ended",)
        assert told == [event.id for event in events if event.kind not in silent]
        self.told += told

    # -- what holds after every step

    @invariant()
    def what_was_ended_is_over_for_every_process(self) -> None:
        for number in range(3):
            sessions = self.sessions(number)
            ended = {name for name, one in sessions.items() if one.ended_at is not None}
            assert ended == self.over
            store, clock = self.processes[number]
            for name, session in sessions.items():
                found = store.find(handle=name)
                assert (found is None) == (name in self.over or session.expires_at <= clock.now)
                assert name not in self.over or not store.find(handle=name, now=session.created_at)

    @invariant()
    def no_child_outlives_or_outdoes_its_parent(self) -> None:
        active = self.active()
        assert not orphans(active, set())
        for child in active.values():
            assert len(child.ancestors) <= DEEPEST
            if child.parent is None or child.parent in self.with_siblings:
                continue
            (above,) = (
                one
                for one in active.values()
                if family_of(one) == child.parent and not one.successors
            )
            assert child.expires_at <= above.expires_at
            for name, value in child.attributes.items():
                if name == "scope":
                    assert set(value.split()) <= set(above.attributes[name].split())
                else:
                    assert above.attributes[name] == value

    @invariant()
    def limits_hold_whoever_counts(self) -> None:
        active = self.active().values()
        members = Counter(map(family_of, active))
        assert max(members.values(), default=0) <= FAMILY
        below: dict[str, set[str]] = defaultdict(set)
        logins: dict[str, set[str]] = defaultdict(set)
        for one in active:
            if one.ancestors:
                below[one.ancestors[-1].family].add(family_of(one))
            else:
                logins[one.principal].add(family_of(one))
        assert all(len(families) <= MOST_CHILDREN for families in below.values())
        if self.policy.max_sessions_per_principal is not None:
            assert all(len(families) <= MOST for families in logins.values())

    @invariant()
    def the_reference_sees_the_same_ends(self) -> None:
        """It sees what a mark ended alive until that has an end of its own."""
        store = self.processes[0].store
        events = [(event.kind, event.value) for event in store.events()]
        folded = reference_fold.fold(events).sessions
        sessions = self.sessions()
        assert folded.keys() == sessions.keys()
        marked = False
        for name, session in sessions.items():
            if folded[name]["expired"] != (session.ended_at is not None):
                assert session.cause == "everybody"
                marked = True
            elif session.ended_at is None:
                assert folded[name]["expires_at"] == session.expires_at
                assert folded[name]["attributes"] == session.attributes
        kinds = [kind for kind, _ in events if kind.startswith("everybody")]
        assert not marked or kinds[-1] == "everybody_revoked"

    def nothing_is_wrong_with_the_ledger(self) -> None:
        """But for the clocks."""
        codes = {finding.code for finding in self.processes[0].store.diagnose()}
        assert codes <= {"clocks_disagree", "event_from_future"}


def stays(session: Session, keep: Iterable[str]) -> bool:
    return session.handle in keep and not session.successors


def family_of(session: Session) -> str:
    return session.family or session.handle


def orphans(active: dict[str, Session], ended: set[str]) -> set[str]:
    """Those below a family of which nobody is left, once these ended."""
    left = [one for name, one in active.items() if name not in ended]
    families = {family_of(one) for one in left}
    return {one.handle for one in left if any(up.family not in families for up in one.ancestors)}


def machine(backend: str) -> type[Machine]:
    return cast(type[Machine], type("OneMachine", (Machine,), {"backend": backend}))


BACKENDS = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "postgresql" else []) for name in URLS
]


@pytest.mark.middle
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_ends_stays_ended_whatever_the_clocks_say(backend: str) -> None:
    effort = settings(examples(25), stateful_step_count=25)
    run_state_machine_as_test(machine(backend), settings=effort)


@pytest.mark.slow
@pytest.mark.parametrize("backend", URLS)
def test_what_ends_stays_ended_for_long(backend: str) -> None:
    effort = settings(max_examples=400, stateful_step_count=60)
    run_state_machine_as_test(machine(backend), settings=effort)
