"""What is wrong with events themselves: their chain, their order, what they say and when."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.core.events import ERASURE, FOR_ALL, KINDS, MARKS, Malformed
from sessionledger.core.token import key_of
from sessionledger.findings import Findings
from sessionledger.logs import chain
from sessionledger.logs.base import StoredEvent, View
from sessionledger.logs.chain import Break
from sessionledger.logs.compaction import seal
from sessionledger.store.erasure.lists import lists_in
from sessionledger.store.session_fold import SessionFold

TOLERANCE_MS = CLOCK_TOLERANCE // timedelta(milliseconds=1)
# For so long a disagreement of clocks is told: it stands in the log for good.
RECENT_MS = timedelta(days=1) // timedelta(milliseconds=1)

_RESTORE = (
    "find out who changed the log, and restore it from a copy of before; nothing mends a chain"
)
_WHOSE = "find out which program appended them"
_HEADS = "find out what wrote the head, and restore the log from a copy"


class _Kind:
    """Events that are told together: the first of them, and how many there are."""

    def __init__(self) -> None:
        self.first = 0
        self.number = 0

    def add(self, event: StoredEvent) -> None:
        self.first = self.first or event.id
        self.number += 1

    def __str__(self) -> str:
        more = f" and {self.number - 1} more" if self.number > 1 else ""
        return f"event {self.first}{more}"


class Inspection:
    """Sees all events of a topic in order, and says at the end what it saw of some kinds."""

    def __init__(
        self, topic: str, view: View, now_ms: int, fold: SessionFold, found: Findings
    ) -> None:
        self._topic = topic
        self._fold = fold
        self._view = view
        self._latest_ms = now_ms + TOLERANCE_MS
        self._found = found
        self._head = view.cut.head
        # Stubs that no list was seen of: lists come behind what they list.
        self._stubs: dict[int, str] = {}
        self.erasure = 0
        self._unchained, self._unknown, self._early, self._beyond = (_Kind() for _ in range(4))
        self._late = _Kind()
        self._furthest_ms = self._behind_ms = 0
        self._newest_ms = 0
        self._known = 0

    def see(self, events: Iterable[StoredEvent]) -> None:
        """Some more events."""
        for event in events:
            if self._view.chained:
                self._check_chain(event)
            self._check_content(event)
            self._check_place(event)
            self._see_list(event)
            self._head = chain.head_after(event)

    @property
    def of_sessions(self) -> bool:
        """Whether this is a topic of sessions, as far as its events tell."""
        return self._known > 0 or not self._unknown.number

    def end(self) -> None:
        """All events were seen."""
        add, newest = self._found.add, self._head.id
        for id in self._stubs:
            problem = "it was erased, and no list of erased events has it"
            add("chain_broken", f"event {id}", problem, _RESTORE)
        if self._unchained.number:
            problem = "without a hash: another program appended, and `verify` can't vouch for it"
            add("unchained_events", str(self._unchained), problem, _WHOSE)
        if self._unknown.number:
            problem = "of a kind that is none of a session's: every reader ignores it"
            add("unknown_kind", str(self._unknown), problem, "nothing")
        if self._early.number:
            ahead = (self._newest_ms - self._latest_ms + TOLERANCE_MS) // 1000
            problem = f"says to have happened up to {ahead} s from now"
            add("event_from_future", str(self._early), problem, "set the clock right, with NTP")
        if self._late.number:
            problem = f"says to have happened {self._behind_ms // 1000} s before an earlier event"
            add("clocks_disagree", str(self._late), problem, "set all writers' clocks, with NTP")
        if self._beyond.number:
            problem = f"lies beyond the head, {self._view.head}: no reader of rows sees it"
            add("events_beyond_head", str(self._beyond), problem, _HEADS)
        elif newest < self._view.head:
            problem = f"the newest event is {newest or 'none'}: those after it were removed"
            add("events_missing", f"head {self._view.head}", problem, _RESTORE)

    def _check_chain(self, event: StoredEvent) -> None:
        if chain.HASH_HEADER not in event.headers:
            self._unchained.add(event)
            return
        stub = event.headers.get(chain.STUB_HEADER)
        stubs = {} if stub is None else {event.id: (stub,)}
        verdict = chain.verify(self._topic, (event,), self._head, stubs)
        if isinstance(verdict, Break):
            self._found.add("chain_broken", f"event {event.id}", verdict.problem, _RESTORE)
        elif stub is not None:
            self._stubs[event.id] = stub

    def _see_list(self, event: StoredEvent) -> None:
        if event.kind == ERASURE:
            self.erasure = event.id
            for listed in lists_in((event,)):
                for one in listed.events:
                    if self._stubs.get(one.id) == one.stub:
                        del self._stubs[one.id]

    def _check_content(self, event: StoredEvent) -> None:
        happened = self._fold.happened(event)
        if event.kind in (seal.KIND, ERASURE):
            return
        if event.kind in MARKS | FOR_ALL and not isinstance(happened, Malformed | None):
            return
        if event.kind not in KINDS and happened is None:
            self._unknown.add(event)
            return
        self._known += 1
        subject = f"event {event.id}"
        # What is no handle is not repeated: it might be anything.
        handle = happened and key_of(happened.token_handle) and happened.token_handle
        if not handle:
            problem = f"{event.kind} names no handle, so it concerns nobody"
            self._found.add("nameless_event", subject, problem, "find out what wrote it")
        elif isinstance(happened, Malformed):
            problem = f"{event.kind} can't be read, so the session {handle} fails closed"
            remedy = "begin another session for its principal, and find out what wrote the event"
            self._found.add("undecodable_event", subject, problem, remedy)

    def _check_place(self, event: StoredEvent) -> None:
        if event.occurred_at_ms > self._latest_ms:
            self._early.add(event)
            self._newest_ms = max(self._newest_ms, event.occurred_at_ms)
        else:
            self._check_order(event)
        if event.id > self._view.head:
            self._beyond.add(event)

    def _check_order(self, event: StoredEvent) -> None:
        """Events are in order by their ids: one that says to be older had another clock."""
        if chain.STUB_HEADER in event.headers:
            return  # of it only the day is known
        behind = self._furthest_ms - event.occurred_at_ms
        self._furthest_ms = max(self._furthest_ms, event.occurred_at_ms)
        if behind > TOLERANCE_MS and event.occurred_at_ms > self._latest_ms - RECENT_MS:
            self._late.add(event)
            self._behind_ms = max(self._behind_ms, behind)
