"""What is wrong with the sessions in a topic: its events, and its rows against their fold.

Everything is read from one view, which nothing of this changes. The events are walked once for
what is wrong with themselves. In the same walk, and in as many more as it takes, they are folded
into the rows that should be there, a bounded share of the keys at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial

from sessionledger.core.codec import visible_handle
from sessionledger.core.lifetimes import MIN_RETENTION
from sessionledger.core.session import Seen, Tombstone
from sessionledger.core.token import handle_of
from sessionledger.errors import CorruptLog
from sessionledger.findings import Examining, Finding, Findings
from sessionledger.logs import units
from sessionledger.logs.base import Check, LogEvent, Row, StoredEvent, View
from sessionledger.logs.compaction.seal import BaseHash, problem_of, read_seal
from sessionledger.logs.marks import Mark
from sessionledger.store.audit.event_checks import RECENT_MS, Inspection
from sessionledger.store.audit.reports import ERASURES, LAST_RUNS, SUCCEEDED, last_run
from sessionledger.store.session_fold import SessionFold, state_of

PAGE = 1000
MOST_ROWS_HELD = 200_000

_RESTORE = "restore the ledger from a copy: a base stands nowhere else"
_REBUILD = "run `sessionledger rebuild`"
_SEE = "run `sessionledger maintain` with the same retention: it shows the error"
_ERASE = "run `sessionledger maintain`"
_SWEEP = "run `sessionledger sweep`"
_CONSUMER = "let it go on, or give it up: `sessionledger compact --give-up CONSUMER`"
_CUT_SHORT = (
    "restore the log from a copy that has them; neither reads nor a rebuild go on before that, "
    "since sessions whose end was removed would live again"
)


def session_check(topic: str, now_ms: int, progress: Examining | None) -> Check:
    """The check of a topic of sessions, at an instant in milliseconds since 1970 UTC."""
    return partial(_check, topic, now_ms, progress)


class _Share(SessionFold):
    """The fold of the keys above `after`, as many of them as may be held."""

    def __init__(self, topic: str, after: bytes) -> None:
        super().__init__(topic)
        self.after = after
        self.until: bytes | None = None
        self.rows: dict[bytes, Row] = {}
        self.mark_in_force: Mark | None = None

    def begin(self, view: View) -> None:
        """Begin with what the removed events folded to."""
        after = self.after
        while (page := view.base(after, PAGE)) and self.holds(page[0].key):
            self.rows.update((row.key, row) for row in page if self.holds(row.key))
            self._let_go()
            after = page[-1].key

    def key(self, event: LogEvent | StoredEvent) -> bytes | None:
        handle = visible_handle(event.payload)
        if handle is not None and not self.holds(bytes.fromhex(handle[-64:])):
            return None  # without reading all of it, since there may be many walks
        key = super().key(event)
        return key if key is not None and self.holds(key) else None

    def holds(self, key: bytes) -> bool:
        return key > self.after and (self.until is None or key <= self.until)

    def fold(self, events: Iterable[StoredEvent]) -> None:
        """Fold a page of events."""
        plan = units.refold(self, events, self.rows, self.mark_in_force)
        self.mark_in_force = plan.mark
        self._let_go()

    def _let_go(self) -> None:
        """Let go of what is too much to be held."""
        if len(self.rows) > MOST_ROWS_HELD:
            # The others' turn comes in another walk; a little less, not to be back at once.
            self.until = sorted(self.rows)[MOST_ROWS_HELD * 9 // 10]
            self.rows = {key: row for key, row in self.rows.items() if self.holds(key)}


def _check(topic: str, now_ms: int, progress: Examining | None, view: View) -> list[Finding]:
    found = Findings()
    told = _Told(progress, _to_examine(view))
    share = _Share(topic, b"")
    share.begin(view)
    folded = 0 if view.folded is None else view.folded
    inspection = Inspection(topic, view, now_ms, share, found)
    for page in _pages(view, told):
        inspection.see(page)
        share.fold(event for event in page if event.id <= folded)
    inspection.end()
    # The rows of another topic are somebody else's, and so is their fold.
    _look_at_base(view, found)
    _look_at_erasure(topic, view, inspection.erasure, found)
    _look_at_maintenance(topic, view, share.mark_in_force, now_ms, found)
    if inspection.of_sessions and view.folded is not None:
        _look_at_heads(folded, view.head, found)
        _look_at_rows(topic, folded, share, view, told, found)
    return found.all()


def _look_at_base(view: View, found: Findings) -> None:
    """Compare the base with what its seal says."""
    if not view.cut.id:
        return
    base, after = BaseHash(), b""
    while page := view.base(after, PAGE):
        base.see(page)
        after = page[-1].key
    sealed = view.events(view.cut.seal - 1, 1)
    problem = problem_of(view.cut, sealed[0] if sealed else None, base)
    if problem is not None:
        found.add("chain_broken", f"seal {problem.id}", problem.problem, _RESTORE)


def _look_at_erasure(topic: str, view: View, newest: int, found: Findings) -> None:
    """Whether all was done that the newest list of erased events says."""
    if view.cursors(ERASURES).get(topic, 0) < newest:
        problem = "events of a person were listed to be erased, and something of them is left"
        found.add("erasure_pending", f"event {newest}", problem, _ERASE)


def _look_at_maintenance(
    topic: str, view: View, mark: Mark | None, now_ms: int, found: Findings
) -> None:
    """How the last round went, and what keeps the oldest events from being removed."""
    last = last_run(view.cursors(LAST_RUNS))
    if last is not None and last.outcome == SUCCEEDED:
        found.add("maintenance_ran", f"{last.at:%Y-%m-%d %H:%M:%S}Z", "it ended well", "nothing")
    elif last is not None:
        problem = f"the last round of maintenance, at {last.at:%Y-%m-%d %H:%M:%S}Z, failed"
        found.add("maintenance_failed", last.outcome, problem, _SEE)
    if last is None and not view.cut.id:
        return  # nobody wants events to be removed
    if mark is not None and mark.event.occurred_at_ms < now_ms - RECENT_MS:
        problem = "it ended everybody's sessions, and they have yet to get ends of their own"
        found.add("mark_unswept", f"event {mark.id}", problem, _SWEEP)
    for consumer, cursor in view.cursors(topic).items():
        waiting = view.events(max(cursor, view.cut.id), 1)
        age = timedelta(milliseconds=now_ms - waiting[0].occurred_at_ms) if waiting else None
        if age is not None and age > _retention(view):
            problem = f"has yet to read {view.head - cursor} events, which can't be removed before"
            found.add("consumer_behind", consumer, problem, _CONSUMER)


def _retention(view: View) -> timedelta:
    """The retention that was recorded last, or the shortest that there is."""
    for sealed in view.events(view.cut.seal - 1, 1) if view.cut.id else ():
        with suppress(CorruptLog):
            return timedelta(milliseconds=read_seal(sealed).retention_ms)
    return MIN_RETENTION


def _look_at_rows(
    topic: str, folded: int, share: _Share, view: View, told: _Told, found: Findings
) -> None:
    """Compare all rows with the fold, beginning with the share that is folded."""
    # Rows that know of events which are gone can't be compared with what is left.
    if folded > view.head:
        return
    _compare(share, view, found)
    while share.until is not None:
        share = _Share(topic, share.until)
        share.begin(view)
        for page in _pages(view, told, folded):
            share.fold(page)
        _compare(share, view, found)


class _Told:
    """Tells how many events are done, over all walks."""

    def __init__(self, progress: Examining | None, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def more(self, events: int) -> None:
        self._done += events
        if self._progress is not None:
            self._progress(self._done, max(self._total, self._done))


def _to_examine(view: View) -> int:
    """How many events will be read, over all walks, about: without counting them."""
    first = view.events(view.cut.id, 1)
    events = view.head - first[0].id + 1 if first else 0
    return max(events, 0) * _walks(view)


def _walks(view: View) -> int:
    """How often the events will be walked. Keys are digests, and so spread evenly: how far a page
    of them reaches tells how many there are."""
    page = [] if view.folded is None else view.rows(b"", PAGE)
    if len(page) < PAGE:
        return 1
    reach = int.from_bytes(page[-1].key[:8].ljust(8, b"\0")) + 1
    return 1 + (PAGE << 64) // reach * 20 // (MOST_ROWS_HELD * 19)


def _pages(view: View, told: _Told, until: int | None = None) -> Iterator[list[StoredEvent]]:
    after = view.cut.id
    while page := view.events(after, PAGE):
        after = page[-1].id
        if until is not None:
            page = [event for event in page if event.id <= until]
        yield page
        told.more(len(page))
        if until is not None and after >= until:
            return


def _look_at_heads(folded: int, head: int, found: Findings) -> None:
    if folded > head:
        problem = f"the rows know event {folded}: events were removed"
        found.add("log_cut_short", f"head {head}", problem, _CUT_SHORT)
    elif folded < head:
        found.add(
            "rows_behind",
            f"events {folded + 1} to {head}",
            "another program appended them without rows",
            "nothing: they are folded before the next answer",
        )


def _compare(share: _Share, view: View, found: Findings) -> None:
    """The rows that are stored for the keys of a share, against those that were folded."""
    after = share.after
    more = True
    while more and (page := view.rows(after, PAGE)):
        after = page[-1].key
        more = share.until is None or after < share.until
        for row in page:
            if share.holds(row.key):
                _judge(row, share.rows.pop(row.key, None), view.cut.id, found)
    for key in share.rows:
        found.add("row_missing", handle_of(key), "the log knows it, and no row does", _REBUILD)


def _judge(row: Row, folded: Row | None, cut: int, found: Findings) -> None:
    # A compaction that was interrupted leaves rows that are over of keys that it forgot.
    if folded is None and (row.live or row.version > cut):
        problem = "there is a row for it, and no event"
        found.add("row_surplus", handle_of(row.key), problem, _REBUILD)
    elif folded is not None and row != folded and not _is_reduced(row, folded):
        names = [n for n in Row.__struct_fields__ if getattr(row, n) != getattr(folded, n)]
        problem = f"its row differs from its events in {', '.join(names)}"
        found.add("row_differs", handle_of(row.key), problem, _REBUILD)


def _is_reduced(row: Row, folded: Row) -> bool:
    """Whether a compaction that was interrupted left this row of a key that is over.

    It is a tombstone, or the key is to be forgotten and was ended again meanwhile.
    """
    is_tombstone = isinstance(state_of(row), Tombstone) and row.created == folded.created
    is_over = not row.live and not folded.live and row.version == folded.version
    return is_over and (is_tombstone or isinstance(state_of(folded), Seen))
