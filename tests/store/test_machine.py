"""Any sequence of calls while time moves, on every kind of store, against a model of dicts."""

from __future__ import annotations

import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from sessionledger import DuplicateSession, Policy, Session
from sessionledger.core.token import digest, handle_of
from tests.store.facade import KINDS, Bench, Kind
from tests.store.model import IDLE, TTL, Model

PRINCIPALS = ["alice", "bob"]
principals = st.sampled_from(PRINCIPALS)
attributes = st.sampled_from([{}, {"role": "reader"}, {"role": "admin", "n": [1, {"a": None}]}])
waits = st.sampled_from([1, 7, 15, 40]).map(lambda minutes: timedelta(minutes=minutes))
spans = st.sampled_from([5, 25, 45, 90]).map(lambda minutes: timedelta(minutes=minutes))
offsets = st.sampled_from([-70, -10, 0, 3, 30]).map(lambda minutes: timedelta(minutes=minutes))


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
        self.ended: set[str] = set()

    def teardown(self) -> None:
        self.bench.close()
        shutil.rmtree(self.place)

    @initialize(slides=st.booleans())
    def begin(self, slides: bool) -> None:
        self.policy = Policy(ttl=TTL, idle_timeout=IDLE if slides else None)
        self.model = Model(slides=slides)
        self.store = self.bench.on(self.log, policy=self.policy)

    @property
    def now(self) -> datetime:
        return self.clock.now

    @rule(target=tokens, who=principals, data=attributes, given=st.booleans())
    def create(self, who: str, data: dict[str, Any], given: bool) -> str:
        self.given += given
        token = f"a-token-that-was-given-number-{self.given:04}" if given else None
        issued = self.store.create(who, token=token, attributes=data)
        self.model.create(issued.token, who, self.now, None, data)
        return issued.token

    @rule(target=tokens, who=principals, span=spans, by_ttl=st.booleans())
    def create_until(self, who: str, span: timedelta, by_ttl: bool) -> str:
        end = self.now + span
        issued = self.store.create(
            who, ttl=span if by_ttl else None, expires_at=None if by_ttl else end
        )
        self.model.create(issued.token, who, self.now, end, {})
        return issued.token

    @rule(token=tokens)
    def create_again(self, token: str) -> None:
        with pytest.raises(DuplicateSession):
            self.store.create("mallory", token=token)

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

    @rule(token=tokens, offset=st.none() | offsets)
    def expire(self, token: str, offset: timedelta | None) -> None:
        at = None if offset is None else self.now + offset
        self.model.expire(token, self.now, at)
        self.agrees(token, self.store.expire(token, expired_at=at))
        self.ended.add(token)

    @rule(token=consumes(tokens), offset=st.none() | offsets)
    def revoke(self, token: str, offset: timedelta | None) -> None:
        at = None if offset is None else self.now + offset
        self.model.expire(token, self.now, at)
        self.agrees(token, self.store.revoke(handle=handle_of(digest(token)), expired_at=at))
        self.ended.add(token)

    @rule(token=tokens, offset=offsets)
    def get_as_of(self, token: str, offset: timedelta) -> None:
        at, handle = self.now + offset, handle_of(digest(token))
        live = self.model.sessions[token].live(at)
        assert (self.store.get(token, now=at) is not None) == live
        assert (self.store.find(handle=handle, now=at) is not None) == live

    @rule(span=waits)
    def wait(self, span: timedelta) -> None:
        self.clock.advance(span)

    @rule(who=st.none() | principals, live=st.booleans(), size=st.integers(1, 4))
    def list(self, who: str | None, live: bool, size: int) -> None:
        tokens = self.model.of(who, self.now if live else None)
        handles = [handle_of(digest(token)) for token in tokens]
        listed = [s.handle for s in self.store.sessions(principal=who, live=live, page_size=size)]
        assert listed == (sorted(handles) if who is None else handles)
        assert self.store.count(principal=who, live=live) == len(handles)

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
        self.store = self.bench.on(self.log, policy=self.policy)

    @invariant()
    def every_session_is_as_the_model_has_it(self) -> None:
        for token, known in self.model.sessions.items():
            session = self.store.get(token)
            assert self.store.find(handle=handle_of(digest(token))) == session
            assert (session is not None) == known.live(self.now)
            if session is not None:
                self.agrees(token, session)

    @invariant()
    def what_was_ended_never_comes_back(self) -> None:
        for token in self.ended:
            assert self.store.get(token) is None

    @invariant()
    def the_chain_holds(self) -> None:
        verified = self.store.verify()
        assert (verified.ok, verified.events) == (True, self.model.events)

    def agrees(self, token: str, session: Session | None) -> None:
        known = self.model.sessions[token]
        assert session is not None
        assert session.principal == known.principal
        assert session.expires_at == known.expires_at
        assert session.deadline == known.deadline
        assert session.last_seen_at == known.last_seen_at
        assert session.attributes == known.attributes
        assert session.ended_at == known.ended_at


def machine(of: Kind) -> type[Machine]:
    return cast(type[Machine], type("OneMachine", (Machine,), {"kind": of}))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_store_does_as_its_model(kind: Kind) -> None:
    effort = settings(max_examples=30, stateful_step_count=25)
    run_state_machine_as_test(machine(kind), settings=effort)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_store_does_as_its_model_for_long(kind: Kind) -> None:
    effort = settings(max_examples=400, stateful_step_count=60)
    run_state_machine_as_test(machine(kind), settings=effort)
