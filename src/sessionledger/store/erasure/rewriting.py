"""Doing what the lists of a topic say: an erasure, or the rest of one that was interrupted.

The lists have what it takes. Who was erased stands nowhere, and need not be known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from sessionledger.core.codec import decode_event
from sessionledger.core.events import SEALED, Malformed
from sessionledger.core.history import decoded
from sessionledger.core.session import Session, Tombstone
from sessionledger.core.token import ERASURES_KEY, key_of
from sessionledger.errors import CorruptLog, LogTimeout, LogUnavailable
from sessionledger.logs import chain
from sessionledger.logs.base import Log, Progress, Row, StoredEvent
from sessionledger.logs.compaction.archive import rewrite_archive
from sessionledger.logs.compaction.contract import (
    CompactableLog,
    Cut,
    ErasableLog,
    Rewriting,
    Segment,
)
from sessionledger.logs.compaction.seal import BaseHash, read_seal, with_base
from sessionledger.logs.compaction.segments import Archive
from sessionledger.logs.units import UNIT_HEADER
from sessionledger.store.audit.reports import ERASURES
from sessionledger.store.erasure.lists import lists_in
from sessionledger.store.erasure.stubs import ErasureList, blanked, erased, without
from sessionledger.store.session_fold import draft_of, state_of

_PAGE = 500


class Left(msgspec.Struct, frozen=True):
    """Where something erased is left: until the next maintenance, or until others remove it."""

    pending: tuple[str, ...] = ()
    remains: tuple[str, ...] = ()


def finish(log: Log, topic: str, progress: Progress | None = None) -> Left:
    """Erase what the topic's lists say, as far as it is not done."""
    ledger = log.compactable()
    if ledger is None or not isinstance(ledger, ErasableLog):
        return Left()
    done = ledger.cursors(ERASURES).get(topic, 0)
    newest = log.row(topic, ERASURES_KEY)
    if newest is None or newest.version <= done:
        return Left()
    with ledger.lease():
        cut = ledger.cut(topic)
        lists = _listed(log, topic, max(done, cut.id))
        pending, remains = _Erasing(log, ledger, topic, cut, lists).run(progress), tuple[str, ...]()
        try:
            remains = ledger.purge()
        except LogTimeout as error:
            pending = (*pending, str(error))
        if not pending:
            log.ack(ERASURES, topic, newest.version)
    return Left(pending, remains)


def stub_for(topic: str, event: StoredEvent, replaced: tuple[str, ...], base: str) -> StoredEvent:
    """What stands in the place of an event. replaced: the headers of it that are blanked, where it
    is somebody else's. base: what a seal says of the base."""
    told = told_by(event)
    if event.kind == SEALED:
        content = (event.kind, with_base(event, base), dict[str, str](), event.occurred_at_ms)
    elif replaced:
        content = blanked(event, told, replaced)
    else:
        content = erased(event, decoded(event) or Malformed(""))
    kind, payload, headers, at_ms = content
    kept = {UNIT_HEADER: event.headers[UNIT_HEADER]} if UNIT_HEADER in event.headers else {}
    return chain.stub_of(topic, event, kind, payload, headers | kept, at_ms)


def told_by(event: StoredEvent) -> dict[str, str]:
    """The headers of an event that are not the log's."""
    ours = (UNIT_HEADER, chain.STUB_HEADER)
    return {name: text for name, text in chain.unchained(event.headers).items() if name not in ours}


class RowsAfter:
    """What stands in the place of rows. keys: those of the sessions that are erased."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = dict.fromkeys(keys)
        # For each key of somebody else and each header that is blanked, what was said there.
        self.told: dict[bytes, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))

    def see(self, event: StoredEvent, names: Iterable[str]) -> None:
        """Headers of an event of somebody else are blanked. A row may repeat them."""
        happened = decode_event(event.kind, event.payload)
        key = None if happened is None else key_of(happened.token_handle)
        if key is not None:
            for name in names:
                self.told[key][name].add(event.headers[name])

    def row(self, row: Row) -> Row:
        """As in `Rewriting`."""
        if row.key in self.keys:
            return Row.of(row.key, row.version, row.created, draft_of(Tombstone()))
        told, session = self.told.get(row.key), state_of(row)
        if told is None or not isinstance(session, Session):
            return row
        return msgspec.structs.replace(row, state=draft_of(without(session, told)).state)


def base_after(ledger: CompactableLog, topic: str, row: Callable[[Row], Row]) -> str:
    """The hash of a base once some of its rows are replaced."""
    base, after = BaseHash(), b""
    while rows := ledger.base(topic, after, _PAGE):
        base.see(map(row, rows))
        after = rows[-1].key
    return str(base)


def segment_of(log: Log, topic: str, cut: Cut) -> Segment | None:
    """The segment that the newest seal names, if there is one."""
    sealed = log.read(topic, cut.seal - 1, 1) if cut.id else []
    with suppress(CorruptLog):
        return read_seal(sealed[0]).archive if sealed else None
    return None


def _listed(log: Log, topic: str, after: int) -> list[ErasureList]:
    found = list[ErasureList]()
    while page := log.read_key(topic, ERASURES_KEY, after, _PAGE):
        found += lists_in(page)
        after = page[-1].id
    return found


class _Erasing:
    """What some lists say of a topic with a cut."""

    def __init__(
        self,
        log: Log,
        ledger: CompactableLog,
        topic: str,
        cut: Cut,
        lists: Sequence[ErasureList],
    ) -> None:
        self._log, self._ledger, self._topic, self._cut = log, ledger, topic, cut
        self._replaced = {replaced.id: replaced for one in lists for replaced in one.events}
        handles = (handle for one in lists for handle in one.handles)
        self._rows = RowsAfter(key for handle in handles if (key := key_of(handle)) is not None)

    def run(self, progress: Progress | None) -> tuple[str, ...]:
        """Rewrite ledger and archive; where something is left."""
        cut, left = self._cut.id, tuple[str, ...]()
        found = [event for id in self._replaced if id > cut for event in self._event(id)]
        archived = {id for id in self._replaced if id <= cut}
        last = segment_of(self._log, self._topic, self._cut) if archived else None
        stored = dict[int, StoredEvent]()
        if last is not None:
            try:
                stored = self._archived(last, archived)
            except (CorruptLog, LogUnavailable) as error:
                left = (f"the archive: {error}",)
        for event in (*found, *stored.values()):
            self._rows.see(event, self._replaced[event.id].blanked)
        self._rewrite(found, progress)
        if stored and last is not None:
            stubs = {id: self._stub(event, "") for id, event in stored.items()}
            rewrite_archive(Path(last.folder), self._topic, self._cut, last, stubs)
        return left

    def _event(self, id: int) -> list[StoredEvent]:
        return [event for event in self._log.read(self._topic, id - 1, 1) if event.id == id]

    def _archived(self, last: Segment, ids: set[int]) -> dict[int, StoredEvent]:
        pages = Archive(Path(last.folder), self._topic, self._cut, last).pages(min(ids) - 1)
        return {event.id: event for page in pages for event in page if event.id in ids}

    def _rewrite(self, found: Sequence[StoredEvent], progress: Progress | None) -> None:
        ledger, seal = self._ledger, self._cut.seal
        assert isinstance(ledger, ErasableLog)
        base = base_after(ledger, self._topic, self._rows.row) if self._cut.id else ""
        stubs = [self._stub(event, base if event.id == seal else "") for event in found]
        seals = [stub for stub in stubs if stub.id == seal]
        events = [stub for stub in stubs if stub.id != seal]
        keys = [*self._rows.keys, *self._rows.told.keys() - self._rows.keys.keys()]
        ledger.rewrite(self._topic, Rewriting(events, seals, keys, self._rows.row), progress)

    def _stub(self, event: StoredEvent, base: str) -> StoredEvent:
        replaced = self._replaced[event.id]
        if event.headers.get(chain.STUB_HEADER) == replaced.stub:
            return event
        return stub_for(self._topic, event, replaced.blanked, base)
