"""Any sequence of calls, compactions and erasures, with backups, restores and copies among them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test

from sessionledger import (
    HistoryCut,
    LedgerMoved,
    LedgerRestored,
    LogUnavailable,
    SessionStore,
    StoredEvent,
    copy,
    open_log,
    restore,
)
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Expired
from sessionledger.logs import chain
from sessionledger.logs.base import LogEvent
from sessionledger.logs.chain import EMPTY
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.store.engine import SESSIONS_TOPIC
from tests.logs.openers import address
from tests.store.test_compaction_machine import Machine
from tests.tiers import examples

backends = st.sampled_from(["sqlite", "file", "postgresql"])
which = st.integers(0, 5)


@dataclass(frozen=True)
class Kept:
    """A backup, and what the machine knew when it was made."""

    path: Path
    events: list[StoredEvent]
    used: frozenset[str]
    consumer: int
    head: int
    cut: int
    lost: frozenset[int]
    before: frozenset[Path]
    histories_agree: bool


class CopiesMachine(Machine):
    """The machine of compactions, whose ledger is restored from backups and moved by copies."""

    def __init__(self) -> None:
        super().__init__()
        self.backups: list[Kept] = []
        # Those that the ledger goes on from.
        self.before: frozenset[Path] = frozenset()
        # The heads of ledgers that were given up; those that this ledger does not have.
        self.given_up: set[int] = set()
        self.lost: frozenset[int] = frozenset()
        self.places = 0

    def new_place(self) -> Path:
        self.places += 1
        return self.place / f"place-{self.places}"

    def new_address(self, backend: str) -> str:
        """One of that kind. A ledger goes to a server only if it begins there."""
        is_dear = backend == "postgresql" and self.kind != backend
        return address("sqlite" if is_dear else backend, self.new_place())

    @rule()
    def back_up(self) -> None:
        for store in self.stores:  # what a mark ended has an end of its own
            while store.sweep():
                pass
        path = self.new_place()
        head, cut = self.cut.head().id, self.cut.stats().cut
        assert self.cut.backup(path).ok
        if self.archive is not None:
            shutil.copytree(self.archive, archive_of(path))
        self.before |= {path}
        kept = Kept(
            path,
            events=list(self.whole.events()),
            used=frozenset(self.used) - self.unknown,
            consumer=self.consumer,
            head=head,
            cut=cut,
            lost=self.lost,
            before=self.before,
            histories_agree=self.histories_agree,
        )
        self.backups.append(kept)

    @precondition(lambda self: self.backups)
    @rule(which=which, backend=backends)
    def restore(self, which: int, backend: str) -> None:
        kept = self.backups[which % len(self.backups)]
        self.restore_from(kept, backend, keep_live=None)
        assert not list(self.cut.sessions())

    @precondition(lambda self: self.backups)
    @rule(older=which, newer=which, backend=backends)
    def restore_and_keep_live(self, older: int, newer: int, backend: str) -> None:
        first, second = sorted((older % len(self.backups), newer % len(self.backups)))
        kept, later = self.backups[first], self.backups[second]
        if not kept.head or (kept.path in later.before and later.cut <= kept.head):
            self.restore_from(kept, backend, keep_live=later)
        elif later.cut > kept.head or kept.head in later.lost:
            place = self.new_address(backend)
            with pytest.raises(LogUnavailable, match="does not have event"):
                restore(kept.path, place, keep_live=later.path)

    def restore_from(self, kept: Kept, backend: str, keep_live: Kept | None) -> None:
        """Give the ledger up, and go on with one that is restored; so does the other store."""
        self.clock.advance(timedelta(seconds=1))
        self.given_up.add(self.cut.head().id)
        self.log.close()
        self.put_archive_back(kept)
        self.where = self.new_address(backend)
        restore(
            kept.path,
            self.where,
            keep_live=None if keep_live is None else keep_live.path,
            erased=self.register,
            clock=lambda: self.clock.now,
        )
        self.whole = self.replayed(kept.events + self.ends(kept, keep_live))
        if keep_live is None:
            self.whole.revoke_everybody(reason="restored from a backup")
        for handle in self.register:
            if list(self.whole.history(handle=handle)):
                self.whole.erase(handle=handle)
        self.cut = self.on(open_log(self.where))
        self.consumer = kept.consumer
        self.unknown = frozenset(self.used) - kept.used
        self.lost = kept.lost | {head for head in self.given_up if head > kept.head}
        self.before = kept.before
        self.histories_agree = kept.histories_agree and keep_live is None

    def put_archive_back(self, kept: Kept) -> None:
        shutil.rmtree(self.place / "archive", ignore_errors=True)
        if archive_of(kept.path).exists():
            shutil.copytree(archive_of(kept.path), self.place / "archive")

    def ends(self, kept: Kept, later: Kept | None) -> list[StoredEvent]:
        """What ends the sessions of a backup that are over, or replaced, in a later one."""
        if later is None:
            return []
        old, new = self.replayed(kept.events), self.replayed(later.events)
        known = {one.handle: one for one in new.sessions(state="all", superseded=True)}
        linked, head = (
            list[StoredEvent](),
            chain.head_after(kept.events[-1]) if kept.events else EMPTY,
        )
        for one in old.sessions(state="all", superseded=True):
            now = known.get(one.handle)  # none that was erased
            if one.ended_at is None and (now is None or now.ended_at or now.successors):
                cause = "rotated" if now and now.ended_at is None else "revoked"
                end = encode_event(Expired(self.clock.now, one.handle, cause=cause))
                told = LogEvent(*end, {}, int(1000 * self.clock.now.timestamp()))
                linked.append(chain.link(SESSIONS_TOPIC, told, head.id + 1, head.hash))
                head = chain.head_after(linked[-1])
        return linked

    def agree(self, whole: Any, cut: Any) -> None:
        """Who kept sessions live knows another cause of the ends than the model."""
        if self.histories_agree:
            super().agree(whole, cut)
        else:
            assert all(one is None or one.is_expired_at(self.clock.now) for one in (whole, cut))

    def replayed(self, events: list[StoredEvent]) -> SessionStore:
        return self.over(MemoryLog.holding(SESSIONS_TOPIC, list(events)))

    @precondition(lambda self: self.where != "memory:")
    @rule(backend=backends)
    def copy_and_cut_over(self, backend: str) -> None:
        old, self.where = self.where, self.new_address(backend)
        before = {token: self.cut.get(token) for token in self.used}
        assert copy(old, self.where, cut_over=True).moved
        for call in (self.cut.head, lambda: self.cut.create("mallory"), lambda: open_log(old)):
            with pytest.raises(LedgerMoved):
                call()
        self.log.close()
        self.cut = self.on(open_log(self.where))
        assert {token: self.cut.get(token) for token in self.used} == before

    @invariant()
    def no_old_cursor_is_taken_for_a_new_one(self) -> None:
        for cursor in self.lost:
            with pytest.raises((LedgerRestored, HistoryCut)):
                next(self.cut.events(after=cursor))


def archive_of(backup: Path) -> Path:
    """Where the archive is kept as it was when a backup was made."""
    return backup.with_suffix(".archive")


@pytest.mark.parametrize(
    "kind", ["memory", "sqlite", "file", pytest.param("postgresql", marks=pytest.mark.slow)]
)
@pytest.mark.middle
def test_a_ledger_that_is_restored_and_copied_brings_nothing_back(kind: str) -> None:
    machine = type("Machine", (CopiesMachine,), {"kind": kind})
    run_state_machine_as_test(machine, settings=examples(5 if kind == "postgresql" else 20))
