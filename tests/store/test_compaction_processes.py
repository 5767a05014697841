"""Calls of several processes, whose clocks differ, while any of them compacts the ledger.

Another program appends until the first seal, a consumer lags, and used tokens are tried again. Each
process is compared with a store that keeps every event, at the same clock.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
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
    DuplicateSession,
    InvalidSession,
    IssuedSession,
    Log,
    LogEvent,
    Policy,
    RotationLimitReached,
    Session,
    SessionStore,
)
from sessionledger.core.token import digest, handle_of
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.operations import create, rotation
from sessionledger.testing import Clock
from sessionledger.testing.clock import NOON
from tests.logs.openers import open_at
from tests.store.test_compaction_machine import RETENTION, bare, interrupted_after, unit_of
from tests.tiers import examples

POLICY = Policy(ttl=timedelta(days=9), idle_timeout=timedelta(days=5))
OVER_RETENTION = timedelta(days=2, hours=1)
waits = st.sampled_from([timedelta(minutes=5), timedelta(hours=20), OVER_RETENTION])
# Clocks may differ by so much. With one that can't be right, `compact` refuses to begin.
offsets = st.sampled_from([timedelta(0), timedelta(seconds=25), timedelta(seconds=-25)])
numbers = st.integers(0, 2)
PRINCIPALS = ["alice", "bob"]
ONE_PROCESS = ("memory", "file")
# What other programs leave in the chain, clocks that differ, and what a compaction waits for.
USUAL = {
    *("unknown_kind", "undecodable_event", "unchained_events", "chain_broken"),
    *("clocks_disagree", "event_from_future", "consumer_behind", "mark_unswept"),
}


class Machine(RuleBasedStateMachine):
    """Processes on a ledger that is compacted, and as many on one that never is, told the same.

    Each has its own log, unless in memory, and its own clock.
    """

    kind: ClassVar[str]
    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.now = NOON
        self.used: list[str] = []
        self.random = self.consumer = 0
        self.is_sealed = self.was_interrupted = False
        self.repeatable = ExitStack()
        for module in (create, rotation):
            self.repeatable.enter_context(patch.object(module, "urandom", self.randomness))

    @initialize(target=tokens, skews=st.tuples(offsets, offsets))
    def begin(self, skews: tuple[timedelta, ...]) -> Any:
        self.clocks = [Clock(NOON + skew) for skew in (timedelta(0), *skews)]
        self.whole_log = open_at("memory", self.place)
        self.logs = [self.first_log()]
        self.logs += [self.another_log() for _ in skews]
        self.stranger = self.another_log()
        self.wholes = [self.on(self.whole_log, clock) for clock in self.clocks]
        self.cuts = [self.on(*one) for one in zip(self.logs, self.clocks, strict=True)]
        for is_supplied in (False, True):
            self.both(0, "expire", self.create(0, "alice", is_supplied))
        return self.create(0, "alice", is_supplied=False)

    def first_log(self) -> Log:
        return open_at(self.kind, self.place / "ledger")

    def another_log(self) -> Log:
        if self.kind in ONE_PROCESS:
            return self.logs[0]
        return self.first_log()

    def on(self, log: Log, clock: Clock) -> SessionStore:
        # A store tells from its monotonic clock that it slept for as long as we say.
        return SessionStore(
            log,
            policy=POLICY,
            clock=lambda: clock.now,
            monotonic=lambda: clock.now.timestamp(),
        )

    def randomness(self, size: int) -> bytes:
        return self.random.to_bytes(size, "big")

    def teardown(self) -> None:
        self.repeatable.close()
        for log in (*self.logs, self.stranger):
            log.close()
        shutil.rmtree(self.place)

    def both(self, number: int, call: str, *given: Any, **named: Any) -> Any:
        """Call both, and compare what they answer."""
        self.random += 1
        stores = self.wholes[number], self.cuts[number]
        answers = [answer_of(partial(getattr(store, call), *given, **named)) for store in stores]
        told = [bare(answer) for answer in answers]
        if told[0] != told[1]:
            # What a compaction left of a session that is over tells less.
            assert answers[1] is None
            assert answers[0].is_expired_at(self.clocks[number].now)
        return answers[1]

    @rule(target=tokens, number=numbers, who=st.sampled_from(PRINCIPALS), is_supplied=st.booleans())
    def create(self, number: int, who: str, is_supplied: bool) -> str:
        count = len(self.used)
        given = f"a-token-that-was-given-number-{count:04}" if is_supplied else None
        self.random += 1
        stores = self.wholes[number], self.cuts[number]
        issued = [s.create(who, token=given, attributes={"n": count}) for s in stores]
        assert bare(issued[0]) == bare(issued[1])
        self.used.append(issued[1].token)
        return issued[1].token

    @rule(number=numbers, token=tokens, is_child=st.booleans())
    def create_again(self, number: int, token: str, is_child: bool) -> None:
        store, parent = self.cuts[number], None
        if is_child:
            parent = next((one.handle for one in store.sessions(principal="alice")), None)
        with pytest.raises((DuplicateSession, InvalidSession)):
            store.create("mallory", token=token, parent=parent)

    @rule(number=numbers, token=tokens, call=st.sampled_from(["authenticate", "touch", "expire"]))
    def call(self, number: int, token: str, call: str) -> None:
        self.both(number, call, token)

    @rule(number=numbers, token=tokens, n=st.integers(0, 2))
    def patch(self, number: int, token: str, n: int) -> None:
        self.both(number, "patch", token, {"n": n})

    @rule(
        target=tokens,
        number=numbers,
        token=tokens,
        grace=st.sampled_from([timedelta(0), timedelta(hours=1)]),
    )
    def rotate(self, number: int, token: str, grace: timedelta) -> Any:
        issued = self.both(number, "rotate", token, grace=grace)
        if not isinstance(issued, IssuedSession):
            return multiple()
        self.used.append(issued.token)
        return issued.token

    @rule(number=numbers, who=st.sampled_from(PRINCIPALS))
    def revoke_all(self, number: int, who: str) -> None:
        self.both(number, "revoke_all", who)

    @rule(number=numbers)
    def revoke_everybody(self, number: int) -> None:
        for store in (self.wholes[number], self.cuts[number]):
            store.revoke_everybody()

    @rule(number=numbers)
    def sweep(self, number: int) -> None:
        self.both(number, "sweep")

    @rule(span=waits)
    def wait(self, span: timedelta) -> None:
        for clock in self.clocks:
            clock.advance(span)

    @rule(lag=st.integers(0, 9))
    def consume(self, lag: int) -> None:
        """A consumer that is so many events behind."""
        self.consumer = max(self.consumer, self.cuts[0].head().id - lag)
        self.logs[0].ack(SESSIONS_TOPIC, "reader", self.consumer)

    @rule(event=st.sampled_from(["noted", "other"]))
    def append_something_else(self, event: str) -> None:
        for log in (self.whole_log, self.logs[0]):
            log.append(SESSIONS_TOPIC, [unit_of(self.event(event, {}))])

    @precondition(lambda self: not self.is_sealed)
    @rule(token=tokens, kind=st.sampled_from(["expired", "touched", "created", "malformed"]))
    def append_as_another_program(self, token: str, kind: str) -> None:
        """Without rows: as the reference appends, as long as nothing was compacted."""
        handle, now = handle_of(digest(token)), self.clocks[0].now
        at, later = now.isoformat(), (now + timedelta(hours=30)).isoformat()
        record = {"principal": "bob", "created_at": at, "attributes": {}}
        payloads: dict[str, Any] = {
            "expired": {"token_handle": handle, "expired_at": at},
            "touched": {"token_handle": handle, "last_seen_at": at, "expires_at": later},
            "created": {
                "record": record | {"token_handle": handle, "last_seen_at": at, "expires_at": later}
            },
            "malformed": {"token_handle": handle, "last_seen_at": 7},
        }
        named = "touched" if kind == "malformed" else kind
        unit = unit_of(self.event(f"session_{named}", payloads[kind]))
        self.whole_log.append(SESSIONS_TOPIC, [unit])
        self.stranger.append(SESSIONS_TOPIC, [unit])

    def event(self, kind: str, payload: Any) -> LogEvent:
        at = int(1000 * self.clocks[0].now.timestamp())
        return LogEvent.of(kind, payload, occurred_at_ms=at)

    @rule(number=numbers, after=st.none() | st.integers(0, 12), is_late=st.booleans())
    def compact(self, number: int, after: int | None, is_late: bool) -> None:
        if is_late:
            self.wait(OVER_RETENTION)
            self.create(number, "bob", is_supplied=False)
        store, before = self.cuts[number], self.read()
        while self.wholes[number].sweep():
            pass
        has_ended = False
        with interrupted_after(after):
            found = store.compact(retention=RETENTION, accept_break=store.head().id)
            assert not (self.consumer and found.sealed) or found.cut <= self.consumer
            has_ended = True
        self.was_interrupted |= not has_ended
        self.is_sealed = store.verify().cut > 0
        assert self.read() == before

    @rule(number=numbers)
    def rebuild(self, number: int) -> None:
        before, rows = self.read(), self.logs[0].rows(SESSIONS_TOPIC)
        self.cuts[number].rebuild()
        assert self.read() == before
        if not self.was_interrupted:
            assert self.logs[0].rows(SESSIONS_TOPIC) == rows

    @rule(number=numbers)
    def reopen(self, number: int) -> None:
        if self.kind == "memory":
            return
        for one in range(3) if self.kind in ONE_PROCESS else [number]:
            self.logs[one].close()
        for one in range(3) if self.kind in ONE_PROCESS else [number]:
            self.logs[one] = self.another_log() if one else self.first_log()
            # A store that is new knows nothing of the clock.
            self.cuts[one] = self.on(self.logs[one], self.clocks[one])
            self.wholes[one] = self.on(self.whole_log, self.clocks[one])
        if self.kind in ONE_PROCESS:
            self.stranger = self.logs[0]

    def read(self) -> list[Session | None]:
        return [store.get(token) for store in self.cuts for token in self.used]

    @invariant()
    def every_session_is_what_all_its_events_make_it(self) -> None:
        for whole, cut in zip(self.wholes, self.cuts, strict=True):
            for token in self.used:
                assert bare(whole.get(token)) == bare(cut.get(token))
            for who in PRINCIPALS:
                live = [[bare(one) for one in s.sessions(principal=who)] for s in (whole, cut)]
                assert live[0] == live[1]
            assert whole.count() == cut.count()

    @invariant()
    def nothing_is_wrong(self) -> None:
        """Also, the rows are what the base and the events after it fold to."""
        broken = self.cuts[0].verify().broken
        assert broken is None or "base" not in broken.problem
        assert {one.code for one in self.cuts[0].diagnose()} <= USUAL

    @invariant()
    def a_history_goes_on_from_the_base(self) -> None:
        for token in self.used:
            session = self.cuts[0].get(token)
            if session is not None:
                pages = list(self.cuts[0].history(handle=session.handle).pages())
                ids = [entry.event_id for page in pages for entry in page.entries]
                assert session.version in ids or session.version <= pages[0].cut


def answer_of(call: Callable[[], Any]) -> Any:
    """The answer, or that a family was rotated too often."""
    try:
        return call()
    except RotationLimitReached as error:
        return type(error)


@pytest.mark.parametrize("kind", ["memory", "sqlite", "file", "postgresql"])
@pytest.mark.middle
def test_each_process_answers_as_one_whose_ledger_keeps_every_event(kind: str) -> None:
    machine = type("Machine", (Machine,), {"kind": kind})
    run_state_machine_as_test(machine, settings=examples(3 if kind == "postgresql" else 10))
