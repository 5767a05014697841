"""A copy for the reference: each session as its creation, and its end if it has one.

The events are of the kinds that the reference knows, with its fields only. They are made from rows,
which marks, bases, erasures and damaged events have their effect on already.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from sessionledger.core.annotations import context_headers, is_personal
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Created, Expired, SessionEvent, Touched
from sessionledger.core.fold import shortest
from sessionledger.core.instant import microseconds
from sessionledger.core.session import Session
from sessionledger.core.token import ERASURES_KEY, FORGOTTEN_KEY, handle_of
from sessionledger.errors import InvalidURL
from sessionledger.logs.base import ALL_ROWS, Change, Log, LogEvent, Progress, Row, Unit
from sessionledger.logs.compaction.transfer import PAGE
from sessionledger.logs.url import open_log, open_snapshot, parse_url, staged_at
from sessionledger.secrecy import without_locals
from sessionledger.store.clock import system_clock
from sessionledger.store.copies.backup import refuse_broken, verified
from sessionledger.store.copies.comparison import forget, refuse_other
from sessionledger.store.copies.copy import copyable
from sessionledger.store.copies.results import CopiedForReference
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.session_fold import state_of
from sessionledger.store.steps import salted


@without_locals
def copy_for_reference(
    source: str, target: str, *, accept_breaks: bool = False, progress: Progress | None = None
) -> CopiedForReference:
    """Copy the sessions of a ledger to a new one that the reference reads: SQLite, or files.

    Every topic of sessions is copied. Stop all programs first: what is ended here later stays live
    there. The answer says what the reference can't know. accept_breaks: copy a chain that breaks.
    Raises `InvalidURL` for a target of another kind, and `CorruptLog` for a chain that breaks.
    Raises `LogUnavailable` for an address that has a ledger or an unfinished copy, and what
    `open_log` raises.
    """
    if parse_url(target).path is None:
        raise InvalidURL("the reference reads SQLite and folders of files: name one of them")
    staged = staged_at(target)
    open_snapshot(source).close()
    if staged.is_there():
        refuse_other(SESSIONS_TOPIC)
    counts = dict.fromkeys(("live", "ended", "families", "children", "forgotten"), 0)
    done = 0
    with closing(open_log(source)) as log:
        topics = log.topics()
        for topic in topics:
            forget(copyable(log), topic)
        if not accept_breaks:
            refuse_broken([verified(log, topic) for topic in topics], "the ledger")
        with closing(staged.open()) as draft:
            for topic in topics:
                for events in _pages(log, topic, counts):
                    draft.append(topic, [Unit([Change(event)]) for event in events])
                    done += len(events)
                    if progress is not None:
                        progress(done)
            heads = tuple(verified(draft, topic).head for topic in draft.topics())
    staged.put()
    forgotten = counts.pop("forgotten") > 0
    return CopiedForReference(to=staged.location, heads=heads, forgotten=forgotten, **counts)


def _pages(log: Log, topic: str, counts: dict[str, int]) -> Iterator[list[LogEvent]]:
    """What the reference is told of a topic; nothing of one without sessions."""
    after: Row | None = None
    while rows := log.rows(topic, ALL_ROWS, after, PAGE):
        after = rows[-1]
        if events := [event for row in rows for event in _events(row, counts)]:
            yield events


def _events(row: Row, counts: dict[str, int]) -> Sequence[LogEvent]:
    """What the reference is told of a session. A handle without one can't be created there."""
    if row.key in (FORGOTTEN_KEY, ERASURES_KEY):
        counts["forgotten"] += row.key == FORGOTTEN_KEY
        return []
    state = state_of(row)
    if not isinstance(state, Session):
        counts["ended"] += 1
        return [_event(Expired(system_clock(), handle_of(row.key)), {})]
    counts["live" if state.ended_at is None else "ended"] += 1
    if state.ended_at is None:
        counts["families"] += state.family is not None or bool(state.successors)
        counts["children"] += bool(state.ancestors)
    begun, *end = shortest(state)
    return [_event(begun, context_headers(state.context)), *(_event(one, {}) for one in end)]


def _event(event: SessionEvent, context: dict[str, str]) -> LogEvent:
    headers = salted(context) if is_personal(event, context) else context
    match event:
        case Created(created_at=at) | Touched(last_seen_at=at) | Expired(expired_at=at):
            return LogEvent(*encode_event(event), headers, microseconds(at) // 1000)
