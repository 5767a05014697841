"""Any sequence of calls while time moves, on every kind of store, against a model of dicts."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

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
from msgspec.structs import replace

from sessionledger import (
    CaughtUp,
    DuplicateSession,
    Policy,
    RotationLimitReached,
    Session,
    SessionLimitReached,
    VersionConflict,
)
from sessionledger.core.token import Handle, digest, handle_of
from tests import reference_fold
from tests.store.facade import KINDS, TRIED, Bench, Kind
from tests.store.model import IDLE, LIMIT, TTL, Known, Model, Rules
from tests.tiers import examples

PRINCIPALS = ["alice", "bob"]
EXTERNAL_IDS = ["sid-1", "sid-2"]
principals = st.sampled_from(PRINCIPALS)
external_ids = st.sampled_from(EXTERNAL_IDS)
attributes = st.sampled_from([{}, {"role": "reader"}, {"role": "admin", "n": [1, {"a": None}]}])
changes = st.sampled_from([{}, {"role": "reader"}, {"role": None}, {"n": 1}, {"n": None, "m": [1]}])
waits = st.sampled_from([5, 31, 60, 7 * 60, 15 * 60, 40 * 60]).map(lambda s: timedelta(seconds=s))
spans = st.sampled_from([5, 25, 45, 90]).map(lambda minutes: timedelta(minutes=minutes))
offsets = st.sampled_from([-70, -10, 0, 3, 30]).map(lambda minutes: timedelta(minutes=minutes))
graces = st.sampled_from([None, timedelta(0), timedelta(seconds=5), timedelta(hours=2)])
rules = st.builds(
    Rules,
    idle=st.sampled_from([None, IDLE / 2, IDLE, timedelta(hours=2)]),
    absolute=st.sampled_from([None, timedelta(minutes=30), timedelta(hours=3)]),
    most=st.sampled_from([None, None, 1, 3]),
    evicts=st.booleans(),
    revokes=st.booleans(),
    family=st.sampled_from([2, 3, 32]),
    turns=st.sampled_from([1, 3, 30]),
)


def policy_of(allowed: Rules) -> Policy:
    return Policy(
        ttl=TTL,
        idle_timeout=allowed.idle,
        absolute_timeout=allowed.absolute,
        max_sessions_per_principal=allowed.most,
        on_limit="evict_oldest" if allowed.evicts else "deny",
        on_reuse="revoke" if allowed.revokes else "deny",
        max_family=allowed.family,
        max_rotations_per_minute=allowed.turns,
    )


class Machine(RuleBasedStateMachine):
    """A store and its model, told the same."""

    kind: ClassVar[Kind]
    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.bench = Bench(self.kind, self.place / "ledger.db", durability="normal")
        self.clock = self.bench.clock
        self.log = self.bench.log()
        self.given = 0
        self.watched = 0
        self.ended: set[Handle] = set()
        self.sizes: Counter[str] = Counter()
        self.deadlines: dict[str, datetime] = {}

    def teardown(self) -> None:
        self.bench.close()
        shutil.rmtree(self.place)

    @initialize(allowed=rules)
    def begin(self, allowed: Rules) -> None:
        self.model = Model(allowed)
        self.store = self.bench.on(self.log, policy=policy_of(allowed))

    @property
    def now(self) -> datetime:
        return self.clock.now

    # -- calls by token

    @rule(
        target=tokens,
        who=principals,
        data=attributes,
        given=st.booleans(),
        sid=st.none() | external_ids,
    )
    def create(self, who: str, data: dict[str, Any], given: bool, sid: str | None) -> Any:
        self.given += given
        token = f"a-token-that-was-given-number-{self.given:04}" if given else None
        return self.created(who, token=token, attributes=data, external_id=sid)

    @rule(target=tokens, who=principals, span=spans, by_ttl=st.booleans())
    def create_until(self, who: str, span: timedelta, by_ttl: bool) -> Any:
        end = self.now + span
        until: dict[str, Any] = {"ttl": span} if by_ttl else {"expires_at": end}
        return self.created(who, end, **until)

    def created(self, who: str, end: datetime | None = None, **told: Any) -> Any:
        data, sid = told.get("attributes", {}), told.get("external_id")
        try:
            token = self.store.create(who, **told).token
        except SessionLimitReached:
            assert self.model.create("", who, self.now, end, data, sid) == LIMIT
            return multiple()
        assert self.model.create(token, who, self.now, end, data, sid) is None
        return token

    @rule(token=tokens)
    def create_again(self, token: str) -> None:
        with pytest.raises(DuplicateSession):
            self.store.create("mallory", token=token)
        assert self.store.count(principal="mallory", state="all") == 0

    @rule(token=tokens, data=st.none() | attributes)
    def touch(self, token: str, data: dict[str, Any] | None) -> None:
        done = self.model.touch(token, self.now, None, None, data)
        assert (self.store.touch(token, attributes=data) is not None) == done

    @rule(token=tokens, offset=offsets, span=spans | st.none(), by_ttl=st.booleans())
    def touch_as_of(
        self, token: str, offset: timedelta, span: timedelta | None, by_ttl: bool
    ) -> None:
        seen = self.now + offset
        end = None if span is None else seen + span
        done = self.model.touch(token, self.now, seen, end, None)
        until: dict[str, Any] = {"ttl": span} if by_ttl else {"expires_at": end}
        assert (self.store.touch(token, last_seen_at=seen, **until) is not None) == done

    @rule(token=tokens)
    def authenticate(self, token: str) -> None:
        live = self.model.authenticate(token, self.now)
        session = self.store.authenticate(token)
        assert (session is not None) == live
        if live:
            self.agrees(token, session)

    @rule(token=tokens)
    def reauthenticate(self, token: str) -> None:
        done = self.model.reauthenticate(token, self.now)
        assert (self.store.reauthenticate(token) is not None) == done

    @rule(token=tokens, patch=changes, by_handle=st.booleans(), expecting=st.booleans())
    def patch(self, token: str, patch: dict[str, Any], by_handle: bool, expecting: bool) -> None:
        version = self.model.sessions[token].version if expecting else None
        done = self.model.patch(token, patch, self.now)
        by: dict[str, Any] = {"handle": handle(token)} if by_handle else {"token": token}
        session = self.store.patch(changes=patch, if_version=version, **by)
        assert (session is not None) == done
        if done:
            self.agrees(token, session)

    @rule(token=tokens)
    def patch_in_vain(self, token: str) -> None:
        known = self.model.sessions[token]
        expected = known.version + 1
        if not known.live(self.now):
            assert self.store.patch(token, {"vain": 1}, if_version=expected) is None
            return
        with pytest.raises(VersionConflict) as caught:
            self.store.patch(token, {"vain": 1}, if_version=expected)
        assert caught.value.current == known.version

    @rule(target=tokens, token=tokens, who=st.none() | principals, grace=graces)
    def rotate(self, token: str, who: str | None, grace: timedelta | None) -> Any:
        happens = self.model.rotate(token, who, grace, self.now)
        if isinstance(happens, str):
            with pytest.raises(SessionLimitReached if happens == LIMIT else RotationLimitReached):
                self.store.rotate(token, principal=who, grace=grace)
            return multiple()
        issued = self.store.rotate(token, principal=who, grace=grace)
        assert (issued is None) == (happens is None)
        if issued is None or happens is None:
            return multiple()
        happens(issued.token)
        self.agrees(issued.token, issued)
        return issued.token

    @rule(target=tokens, token=tokens, by_handle=st.booleans())
    def change_credentials(self, token: str, by_handle: bool) -> Any:
        happens = self.model.change_credentials(token, self.now, presented=not by_handle)
        by: dict[str, Any] = {"handle": handle(token)} if by_handle else {"token": token}
        issued = self.store.change_credentials(**by)
        assert (issued is None) == (happens is None)
        if issued is None or happens is None:
            return multiple()
        happens(issued.token)
        self.agrees(issued.token, issued)
        assert self.model.of(issued.principal, self.now) == [issued.token]
        return issued.token

    @rule(token=tokens)
    def log_out_everywhere(self, token: str) -> None:
        known = self.model.sessions[token]
        was_ended = known.ended_at is not None
        expected = self.model.log_out_everywhere(token, self.now)
        assert self.store.log_out_everywhere(token) == expected
        assert was_ended or expected == 0 or not self.model.of(known.principal, self.now)

    @rule(token=tokens, offset=st.none() | offsets, by_handle=st.booleans())
    def end(self, token: str, offset: timedelta | None, by_handle: bool) -> None:
        at = None if offset is None else self.now + offset
        self.model.expire(token, self.now, at, "revoked" if by_handle else "signed_out")
        if by_handle:
            ended = self.store.revoke(handle=handle(token), expired_at=at)
        else:
            ended = self.store.expire(token, expired_at=at)
        self.agrees(token, ended)

    # -- calls by name, and over all

    @rule(who=principals, kept=st.lists(tokens, max_size=2))
    def revoke_all(self, who: str, kept: list[str]) -> None:
        keep = [handle(token) for token in kept]
        expected = self.model.revoke_all(self.now, who, None, kept)
        assert self.store.revoke_all(who, keep=keep) == expected

    @rule(sid=external_ids)
    def log_out(self, sid: str) -> None:
        expected = self.model.revoke_all(self.now, None, sid, ())
        assert self.store.revoke_all(external_id=sid) == expected

    @rule()
    def revoke_everybody(self) -> None:
        expected = self.model.revoke_everybody(self.now)
        assert self.store.revoke_everybody(reason="leak").event_id == expected
        assert self.store.count() == 0

    @rule(limit=st.sampled_from([1, 2, 1000]))
    def sweep(self, limit: int) -> None:
        expected = self.model.sweep(
            self.now, limit, lambda known: (known.expires_at, handle(known.token))
        )
        assert self.store.sweep(limit=limit) == expected

    @rule(token=tokens, offset=offsets)
    def get_as_of(self, token: str, offset: timedelta) -> None:
        at = self.now + offset
        live = self.model.sessions[token].live(at)
        assert (self.store.get(token, now=at) is not None) == live
        assert (self.store.find(handle=handle(token), now=at) is not None) == live

    @rule(token=tokens, back=st.sampled_from([0, 5, 120, 3600]))
    def as_of(self, token: str, back: int) -> None:
        at = self.now - timedelta(seconds=back)
        known, session = self.model.as_of(token, at), self.store.as_of(handle=handle(token), at=at)
        assert (session is None) == (known is None)
        if known is not None:
            self.is_as(known, session)

    @rule(token=tokens)
    def history(self, token: str) -> None:
        entries = list(self.store.history(handle=handle(token)))
        assert [entry.event_id for entry in entries] == [
            state.version for _, state in self.model.sessions[token].story
        ]

    @rule(who=st.none() | principals)
    def watch(self, who: str | None) -> None:
        told: list[int] = []
        for happened in self.store.watch(after=self.watched, principal=who):
            if isinstance(happened, CaughtUp):
                break
            told.append(happened.event_id)
        expected = {
            state.version
            for known in self.model.sessions.values()
            for _, state in known.story
            if who in (None, known.principal)
        }
        expected.update(self.model.marks)
        assert told == sorted(id for id in expected if id > self.watched)
        assert happened == CaughtUp(self.model.events)
        self.watched = self.model.events

    @rule(
        who=st.none() | principals, live=st.booleans(), size=st.integers(1, 4), rest=st.booleans()
    )
    def list(self, who: str | None, live: bool, size: int, rest: bool) -> None:
        tokens = self.model.of(who, self.now if live else None, superseded=rest)
        handles = [handle(token) for token in tokens]
        which: dict[str, Any] = {
            "principal": who,
            "state": "live" if live else "all",
            "superseded": rest,
        }
        listed = [one.handle for one in self.store.sessions(**which, page_size=size)]
        assert listed == (sorted(handles) if who is None else handles)
        assert self.store.count(**which) == len(handles)

    @rule(sid=external_ids, live=st.booleans())
    def list_called(self, sid: str, live: bool) -> None:
        tokens = self.model.called(sid, self.now if live else None)
        found = self.store.sessions(
            external_id=sid, state="live" if live else "all", superseded=True
        )
        assert [session.handle for session in found] == [handle(token) for token in tokens]

    # -- what happens around them

    @rule(span=waits)
    def wait(self, span: timedelta) -> None:
        self.clock.advance(span)

    @rule(allowed=rules)
    def change_the_policy(self, allowed: Rules) -> None:
        self.model.rules = allowed
        self.store.close()
        self.store = self.bench.on(self.log, policy=policy_of(allowed))

    @rule()
    def diagnose(self) -> None:
        assert self.store.diagnose() == []

    @rule()
    def rebuild(self) -> None:
        assert self.store.rebuild() == self.model.events

    @precondition(lambda self: self.bench.persists)
    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.log.close()
        self.log = self.bench.log()
        self.store = self.bench.on(self.log, policy=policy_of(self.model.rules))

    # -- what holds after every step

    @invariant()
    def every_session_is_as_the_model_has_it(self) -> None:
        for token, known in self.model.sessions.items():
            session = self.store.get(token)
            assert self.store.find(handle=handle(token)) == session
            assert (session is not None) == known.live(self.now)
            if session is not None:
                self.agrees(token, session)

    @invariant()
    def what_was_ended_never_comes_back(self) -> None:
        listed = list(self.store.sessions(state="all", superseded=True))
        ended = {session.handle for session in listed if session.ended_at is not None}
        assert ended >= self.ended
        self.ended = ended
        self.no_deadline_is_exceeded_or_moved_away(listed)
        self.the_reference_s_fold_agrees(listed)

    def no_deadline_is_exceeded_or_moved_away(self, sessions: Iterable[Session]) -> None:
        for session in sessions:
            promised = self.deadlines.get(session.handle)
            if promised is not None:
                assert session.deadline is not None
                assert session.deadline <= promised
            if session.deadline is not None:
                assert session.expires_at <= session.deadline
                self.deadlines[session.handle] = session.deadline

    def the_reference_s_fold_agrees(self, sessions: Iterable[Session]) -> None:
        events = [(event.kind, event.value) for event in self.store.events()]
        folded = reference_fold.fold(events).sessions
        assert {session.handle for session in sessions} == folded.keys()
        for session in map(self.as_the_reference_has_it, sessions):
            assert folded[session.handle] == {
                "principal": session.principal,
                "created_at": session.created_at,
                "last_seen_at": session.last_seen_at,
                "expires_at": session.expires_at,
                "attributes": session.attributes,
                "expired": session.ended_at is not None,
            }

    def as_the_reference_has_it(self, session: Session) -> Session:
        """The session without the mark, which the reference does not know."""
        for token, known in self.model.sessions.items():
            if handle(token) == session.handle and known.unmarked is not None:
                return replace(session, expires_at=known.unmarked.expires_at, ended_at=None)
        return session

    @invariant()
    def no_family_outgrows_its_bound(self) -> None:
        active = [known for known in self.model.sessions.values() if known.ended_at is None]
        sizes = Counter(known.name for known in active)
        for name, size in sizes.items():
            # A lower bound takes effect with the next rotation.
            grown = self.sizes.get(name, 0) < size
            assert size <= self.model.rules.family or not grown, (name, size)
        self.sizes = sizes

    @invariant()
    def every_login_is_listed_and_once_unless_siblings_are_in_use(self) -> None:
        """What hides a session is there, live, and newer."""
        listed = {session.handle for session in self.store.sessions()}
        for session in self.store.sessions(superseded=True):
            if session.handle not in listed:
                assert session.superseded_by is not None or session.successors
        model = self.model.of(None, self.now, superseded=False)
        assert listed == set(map(handle, model))
        assert self.store.stats().live == len(listed)

    @invariant()
    def the_chain_holds(self) -> None:
        verified = self.store.verify()
        assert (verified.ok, verified.events) == (True, self.model.events)

    def agrees(self, token: str, session: Session | None) -> None:
        self.is_as(self.model.sessions[token], session)

    def is_as(self, known: Known, session: Session | None) -> None:
        assert session is not None
        assert session.handle == handle(known.token)
        assert session.principal == known.principal
        assert session.created_at == known.created_at
        assert session.expires_at == known.expires_at
        assert session.deadline == known.deadline
        assert session.last_seen_at == known.last_seen_at
        assert session.attributes == known.attributes
        assert session.ended_at == known.ended_at
        assert session.cause == known.cause
        assert session.idle_timeout == known.idle
        assert session.authenticated_at == (known.proved_at or known.created_at)
        assert session.external_id == known.external_id
        assert session.family == (known.family and handle(known.family))
        assert session.successors == tuple(map(handle, known.successors))
        assert (session.superseded_by is not None or bool(session.successors)) == (
            known.superseded or bool(known.successors)
        )
        assert session.version == known.version


def handle(token: str) -> Handle:
    return handle_of(digest(token))


def machine(of: Kind) -> type[Machine]:
    return cast(type[Machine], type("OneMachine", (Machine,), {"kind": of}))


@pytest.mark.parametrize("kind", TRIED)
def test_a_store_does_as_its_model(kind: Kind) -> None:
    effort = settings(examples(30), stateful_step_count=25)
    run_state_machine_as_test(machine(kind), settings=effort)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_store_does_as_its_model_for_long(kind: Kind) -> None:
    effort = settings(max_examples=400, stateful_step_count=60)
    run_state_machine_as_test(machine(kind), settings=effort)
