"""Any sequence of calls, with compactions among them, beside a store that keeps every event."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace

from sessionledger import (
    DuplicateSession,
    HistoryEntry,
    InvalidSession,
    Log,
    LogEvent,
    Policy,
    Session,
    SessionStore,
    open_log,
)
from sessionledger.core.token import digest, handle_of, is_shaped_as_generated
from sessionledger.logs.compaction import archive as archiving
from sessionledger.logs.compaction.contract import WHOLE
from sessionledger.logs.file.disk import Disk
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.logs.sql import compactor, writer
from sessionledger.ownership import flush
from sessionledger.store.operations import rotation
from sessionledger.testing import Clock
from tests.logs.openers import address, open_at
from tests.tiers import examples

RETENTION = timedelta(days=2)
POLICY = Policy(ttl=timedelta(days=3), idle_timeout=timedelta(days=1))
NOTED = {"unknown_kind", "mark_unswept", "consumer_behind", "maintenance_ran"}
"""What these calls leave behind."""
waits = st.sampled_from([timedelta(minutes=5), timedelta(hours=20), timedelta(days=2, hours=1)])


class Interrupted(BaseException):
    """The process ends here, so far as it can be played within one."""


class Machine(RuleBasedStateMachine):
    """A store that is compacted, and one that never is, told the same."""

    kind: ClassVar[str]
    noted: ClassVar[set[str]] = NOTED
    tokens: Bundle[str] = Bundle("tokens")

    def __init__(self) -> None:
        super().__init__()
        self.place = Path(tempfile.mkdtemp())
        self.clock = Clock()
        self.whole = self.on(open_at("memory", self.place))
        self.where = address(self.kind, self.place / "ledger")
        self.cut = self.on(open_log(self.where))
        self.used: list[str] = []
        self.random = 0
        self.consumer = 0
        self.register: set[str] = set()
        # A ledger that was restored does not know the tokens that were first used after the backup.
        self.unknown: frozenset[str] = frozenset()
        self.histories_agree = True
        self.real = vars(rotation)["urandom"]
        vars(rotation)["urandom"] = self.randomness

    def on(self, log: Log) -> SessionStore:
        self.log = log
        return self.over(log)

    def over(self, log: Log) -> SessionStore:
        return SessionStore(
            log,
            policy=POLICY,
            clock=lambda: self.clock.now,
            monotonic=lambda: self.clock.now.timestamp(),
        )

    def randomness(self, size: int) -> bytes:
        return self.random.to_bytes(size, "big")

    def teardown(self) -> None:
        vars(rotation)["urandom"] = self.real
        self.log.close()
        shutil.rmtree(self.place)

    def both(self, call: str, *given: Any, **named: Any) -> Any:
        """Call both, and compare what they answer."""
        self.random += 1
        answers = [getattr(store, call)(*given, **named) for store in (self.whole, self.cut)]
        told = [bare(answer) for answer in answers]
        if told[0] != told[1]:
            self.agree(*answers)
        return answers[1]

    def agree(self, whole: Any, cut: Any) -> None:
        """What a compaction left of a session that is over tells less."""
        assert cut is None
        assert whole.is_expired_at(self.clock.now)

    @rule(target=tokens, who=st.sampled_from(["alice", "bob"]))
    def create(self, who: str) -> str:
        token = f"a-token-that-was-given-number-{len(self.used):04}"
        self.used.append(token)
        self.both("create", who, token=token, attributes={"n": len(self.used)})
        return token

    @rule(token=tokens)
    def create_again(self, token: str) -> None:
        if token in self.unknown and not is_shaped_as_generated(token):
            return
        # One that was forgotten is refused by its shape.
        with pytest.raises(
            (DuplicateSession, InvalidSession), match=r"was created before|forgot which"
        ):
            self.cut.create("mallory", token=token)

    @rule(token=tokens, call=st.sampled_from(["authenticate", "touch", "expire"]))
    def call(self, token: str, call: str) -> None:
        self.both(call, token)

    @rule(token=tokens, n=st.integers(0, 2))
    def patch(self, token: str, n: int) -> None:
        self.both("patch", token, {"n": n})

    @rule(target=tokens, token=tokens, grace=st.sampled_from([timedelta(0), timedelta(hours=1)]))
    def rotate(self, token: str, grace: timedelta) -> Any:
        issued = self.both("rotate", token, grace=grace)
        if issued is None:
            return multiple()
        self.used.append(issued.token)
        return issued.token

    @rule(who=st.sampled_from(["alice", "bob"]))
    def revoke_all(self, who: str) -> None:
        self.both("revoke_all", who)

    @rule()
    def revoke_everybody(self) -> None:
        for store in (self.whole, self.cut):
            store.revoke_everybody()

    @rule()
    def sweep(self) -> None:
        self.both("sweep")

    @rule(span=waits)
    def wait(self, span: timedelta) -> None:
        self.clock.advance(span)

    @rule()
    def consume(self) -> None:
        self.consumer = self.cut.head().id
        self.log.ack("orchestrator.sessions", "reader", self.consumer)

    @rule(event=st.sampled_from(["noted", "other"]))
    def append_something_else(self, event: str) -> None:
        self.log.append(
            "orchestrator.sessions",
            [
                unit_of(
                    LogEvent.of(event, {}, occurred_at_ms=int(1000 * self.clock.now.timestamp()))
                )
            ],
        )

    @rule(after=st.none() | st.integers(0, 12))
    def compact(self, after: int | None) -> None:
        # Both in full: on files an append takes some of the steps that are counted below.
        for store in self.stores:
            while store.sweep():
                pass
        before = {token: self.cut.get(token) for token in self.used}
        with interrupted_after(after):
            found = self.cut.compact(retention=RETENTION, archive=self.place / "archive")
            assert not self.consumer or found.cut <= self.consumer
        assert {token: self.cut.get(token) for token in self.used} == before

    @rule(who=st.sampled_from(["alice", "bob"]), after=st.none() | st.integers(0, 12))
    def erase(self, who: str, after: int | None) -> None:
        for store in self.stores:  # a round of maintenance does it too
            while store.sweep():
                pass
        self.whole.erase(who)
        with interrupted_after(after):
            self.cut.erase(who)
        assert self.cut.verify(archive=self.archive).broken is None
        self.cut.maintain()
        assert not self.cut.stats().erasure_pending
        self.cut.erase(who)  # the process may have been killed before it was written what to erase
        self.register.update(self.cut.erasures())
        principal = f'"principal":"{who}"'.encode()
        assert not [
            one for one in self.cut.events(archive=self.archive) if principal in one.payload
        ]

    @property
    def archive(self) -> Path | None:
        """Where the archive is, once there is one."""
        return self.place / "archive" if self.cut.stats().cut else None

    @rule()
    def rebuild(self) -> None:
        before = {token: self.cut.get(token) for token in self.used}
        self.cut.rebuild()
        assert {token: self.cut.get(token) for token in self.used} == before

    @rule(token=tokens, who=st.sampled_from(["alice", "bob"]))
    def read_the_archive(self, token: str, who: str) -> None:
        archive = self.place / "archive"
        events = list(self.cut.events(archive=archive))
        assert events[0].id == 1 or events[0].kind == "ledger_restored"
        assert events[-1].id == self.cut.head().id
        gaps = [one.kind for last, one in pairwise(events) if one.id != last.id + 1]
        assert set(gaps) <= {"ledger_restored"}
        found = self.cut.verify(archive=archive)
        assert (found.broken, found.cut) == (None, 0)
        uncut = MemoryLog.holding("orchestrator.sessions", events, WHOLE)
        replayed = SessionStore(uncut, policy=POLICY, clock=lambda: self.clock.now)
        for named in ({"handle": handle_of(digest(token))}, {"principal": who}):
            told = list(self.cut.history(**named, archive=archive))
            assert told == list(replayed.history(**named))
            if self.histories_agree:
                assert bare_entries(told) == bare_entries(self.whole.history(**named))

    @rule()
    def reopen(self) -> None:
        if self.where != "memory:":
            self.log.close()
            self.cut = self.on(open_log(self.where))

    @invariant()
    def every_session_is_what_all_its_events_make_it(self) -> None:
        for token in self.used:
            assert bare(self.whole.get(token)) == bare(self.cut.get(token))
        for who in ("alice", "bob"):
            live = [[bare(one) for one in store.sessions(principal=who)] for store in self.stores]
            assert live[0] == live[1]
        assert self.whole.count() == self.cut.count()

    @invariant()
    def nothing_is_wrong(self) -> None:
        verified = self.cut.verify()
        assert verified.broken is None
        remains = {"erasure_remains"} if self.kind == "postgresql" else set()
        assert {one.code for one in self.cut.diagnose()} <= self.noted | remains

    @invariant()
    def a_history_goes_on_from_the_base(self) -> None:
        for token in self.used:
            session = self.cut.get(token)
            if session is not None:
                pages = list(self.cut.history(handle=session.handle).pages())
                ids = [entry.event_id for page in pages for entry in page.entries]
                assert session.version in ids or session.version <= pages[0].cut

    @property
    def stores(self) -> tuple[SessionStore, SessionStore]:
        return self.whole, self.cut


def unit_of(event: LogEvent) -> Any:
    from sessionledger import Change, Unit

    return Unit([Change(event)])


def bare(answer: Any) -> Any:
    """An answer without versions, which count the seals of one store."""
    return replace(answer, version=0) if isinstance(answer, Session) else answer


def bare_entries(told: Iterable[HistoryEntry]) -> list[Any]:
    """Entries without their ids, which count the seals of one store.

    A token that is presented again is noted of a session that was over, but not of a tombstone.
    """
    return [
        replace(entry, event_id=0)
        for entry in told
        if entry.cause != "reused" or "ended_at" in entry.changes
    ]


@contextmanager
def interrupted_after(transactions: int | None) -> Iterator[None]:
    """Let a compaction end after so many transactions, or steps of a file, as a kill would."""
    real, left = compactor.Compactor._in_transaction, transactions

    def count() -> None:
        nonlocal left
        if left is not None:
            if left == 0:
                raise Interrupted
            left -= 1

    def counted(self: Any, work: Any) -> Any:
        count()
        return real(self, work)

    def stepped(real: Any) -> Any:
        def step(self: Any, *given: Any) -> Any:
            count()
            return real(self, *given)

        return step

    def flushed(folder: Path) -> None:
        flush(folder)
        count()

    names = ("rewrite_rows", "replace_events")
    rewritten = {name: vars(writer.Writer)[name] for name in names}
    steps = {name: vars(Disk)[name] for name in ("anchor", "put_draft", "publish", "flush_folder")}
    with ExitStack() as patches:
        for name, size in {"PAGE": 3, "ENTRIES": 3, "STAGED_BYTES": 2000}.items():
            patches.enter_context(patch.object(compactor, name, size))
        patches.enter_context(patch.object(compactor.Compactor, "_in_transaction", counted))
        patches.enter_context(patch.object(archiving, "flush", flushed))
        for name, step in steps.items():
            patches.enter_context(patch.object(Disk, name, stepped(step)))
        for name, step in rewritten.items():
            patches.enter_context(patch.object(writer.Writer, name, stepped(step)))
        with suppress(Interrupted):
            yield


@pytest.mark.parametrize("kind", ["memory", "sqlite", "file", "postgresql"])
@pytest.mark.middle
def test_a_compacted_store_answers_as_one_that_keeps_every_event(kind: str) -> None:
    machine = type("Machine", (Machine,), {"kind": kind})
    run_state_machine_as_test(machine, settings=examples(10 if kind == "postgresql" else 40))
