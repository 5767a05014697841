"""What is wrong with the answers of a journal, and with the ledger that they left.

Nothing here knows how the ledger is built. A fault is a sentence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise

from msgspec.structs import replace

from sessionledger import Session
from torture.history import NEVER, STRANGER, Call, History
from torture.journal import NOTHING, SESSION, Entry
from torture.ledger import Image

FORGIVEN = frozenset({"WriteContention", "ClockJumped", "MaintenanceRunning"})
"""Errors that say that nothing was done, and that promise no more."""


def faults(
    entries: Sequence[Entry], image: Image | None, forgiven: Collection[str] = FORGIVEN
) -> list[str]:
    """Everything that is wrong; nothing for a ledger that kept its promises."""
    history = History(entries, may_fail="LogUnavailable" in forgiven)
    found = list(_answers(history, forgiven))
    if image is not None:
        found += _ledger(history, image)
    return found


def changed(image: Image, older: Mapping[str, Session], *, is_compacted: bool) -> list[str]:
    """Older sessions that are not as they were; the image is without them from then on.

    A sweep may have recorded the end of one that was over. A compaction may have removed it.
    """
    return [
        f"{_short(handle)} is not what it was before all calls"
        for handle, session in older.items()
        for sessions in (image.sessions, image.refolded)
        if not _is_same(sessions.pop(handle, None), session)
        and not (is_compacted and session.ended_at is not None)
    ]


def _is_same(found: Session | None, session: Session) -> bool:
    return found is not None and replace(found, version=0) == replace(session, version=0)


def _answers(history: History, forgiven: Collection[str]) -> Iterator[str]:
    values = _Values(history)
    versions = _Versions(history)
    created: set[str] = set()
    for call in history.calls:
        entry = call.entry
        if call.done == NEVER:
            continue
        if entry.answer[:1].isupper() and not _is_expected(entry, history, call, forgiven):
            yield f"{entry.call} raised {entry.answer} without a reason: {entry.said}"
        if call.is_raw:
            yield f"{entry.call} raised no error of the package: {entry.answer}: {entry.said}"
        if entry.answer == SESSION:
            yield from _shown(history, call)
            yield from values.check(call)
            yield from versions.check(call)
            if entry.call == "create":
                if entry.handle in created:
                    yield f"{_short(entry.handle)} was created twice"
                created.add(entry.handle)
        if entry.answer == NOTHING and entry.call not in {"reuse", "create"}:
            yield from _not_shown(history, call)


def _is_expected(entry: Entry, history: History, call: Call, forgiven: Collection[str]) -> bool:
    if entry.answer in forgiven:
        return True
    if entry.answer == "DuplicateSession":
        return any(
            other.entry.call == "create"
            and other.entry.handle == entry.handle
            and other is not call
            and other.begun < call.done
            for other in history.calls
        )
    if entry.answer == "InvalidSession" and entry.parent:
        parent = history.known.get(entry.parent)
        if parent is None or parent.made > call.begun:
            return True
        return history.may_be_over(parent, call.done)
    return False


def _shown(history: History, call: Call) -> Iterator[str]:
    """Rules for a call that found a live session."""
    handle = call.entry.handle
    known = history.known.get(handle)
    if known is None or known.begun > call.done:
        yield f"{call.entry.call} found {_short(handle)}, which nobody began"
        return
    if call.entry.call == "create":
        return
    if history.must_be_over(known, call.begun):
        yield f"{call.entry.call} found {_short(handle)} live after its end was acknowledged"
    if known.dead < call.begun:
        yield f"{call.entry.call} found {_short(handle)} live, which had been seen ended"


def _not_shown(history: History, call: Call) -> Iterator[str]:
    """Rules for a call that found no live session."""
    known = history.known.get(call.entry.handle)
    if known is None or known.made > call.begun:
        return
    if not history.may_be_over(known, call.done):
        yield f"{call.entry.call} lost {_short(known.handle)}, which nobody ended"


class _Values:
    """A writer writes rising numbers under its own name, and rotation carries them on."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._written: dict[str, dict[str, list[Call]]] = defaultdict(lambda: defaultdict(list))
        for call in history.calls:
            known = history.known.get(call.entry.handle)
            if call.entry.value and known is not None:
                self._written[known.values][f"w{call.entry.writer}"].append(call)

    def check(self, call: Call) -> Iterator[str]:
        """What a call read is neither older than what was acknowledged, nor invented."""
        known = self._history.known.get(call.entry.handle)
        if known is None:
            return
        for writer, written in self._written[known.values].items():
            found = call.entry.values.get(writer, 0)
            least = max((w.entry.value for w in written if _kept(w, call)), default=0)
            most = max((w.entry.value for w in written if w.begun < call.done), default=0)
            if not least <= found <= most:
                yield (
                    f"{call.entry.call} read {writer}={found} of {_short(known.handle)}, "
                    f"and {least} to {most} were written"
                )


def _kept(written: Call, call: Call) -> bool:
    return written.done < call.begun and written.entry.answer == SESSION


class _Versions:
    """A version that was answered is never undercut."""

    def __init__(self, history: History) -> None:
        self._answers: dict[str, list[Call]] = defaultdict(list)
        for call in history.calls:
            if call.entry.answer == SESSION:
                self._answers[call.entry.issued or call.entry.handle].append(call)

    def check(self, call: Call) -> Iterator[str]:
        if call.entry.issued:
            return
        before = [c for c in self._answers[call.entry.handle] if c.done < call.begun]
        newest = max((c.entry.version for c in before), default=0)
        if call.entry.version < newest:
            yield (
                f"{call.entry.call} read version {call.entry.version} of "
                f"{_short(call.entry.handle)} after {newest}"
            )


def _ledger(history: History, image: Image) -> Iterator[str]:
    if image.broken:
        yield f"verify: {image.broken}"
    yield from (f"doctor: {finding}" for finding in image.findings)
    yield from _events(history, image)
    yield from _rows(history, image)
    yield from _units(history)
    yield from _strangers(history, image)


def _events(history: History, image: Image) -> Iterator[str]:
    """Every acknowledged version is the id of an event about that session."""
    ids = [event.id for event in image.events]
    if any(later <= earlier for earlier, later in pairwise(ids)):
        yield "the ids of events do not rise"
    handles = {event.id: event.handle for event in image.events}
    written = {call.entry.handle for call in history.calls if call.entry.call == STRANGER}
    for event in image.events:
        if not event.is_chained and event.handle not in written:
            yield f"event {event.id} has lost its hash"
    is_compacted = any(call.entry.call == "compact" for call in history.calls)
    first = image.events[0].id if image.events else NEVER
    for call in history.calls:
        entry = call.entry
        handle = entry.issued or entry.handle
        if is_compacted and entry.version < first:
            continue
        if entry.version and handles.get(entry.version) != handle:
            yield f"event {entry.version} of {_short(handle)} was acknowledged and is gone"


def _rows(history: History, image: Image) -> Iterator[str]:
    for handle in image.sessions.keys() | image.refolded.keys():
        if image.sessions.get(handle) != image.refolded.get(handle):
            yield f"the row of {_short(handle)} is not what its events fold to"
    for known in history.known.values():
        if known.made != NEVER and known.dead == NEVER and known.handle not in image.sessions:
            yield f"{_short(known.handle)} was acknowledged and is listed nowhere"
    for session in image.sessions.values():
        for successor in session.successors:
            if successor not in image.sessions and not _is_over(history, successor):
                yield f"{_short(session.handle)} was rotated, and its successor is missing"


def _is_over(history: History, handle: str) -> bool:
    """Whether somebody saw that the session had ended; a compaction leaves a tombstone of it."""
    known = history.known.get(handle)
    return known is not None and known.dead != NEVER


def _units(history: History) -> Iterator[str]:
    """Of an end that was never answered either every session ended, or nothing happened."""
    for scope, ending in history.half:
        alone = [
            known
            for known in history.known.values()
            if scope in known.scopes
            and known.made < ending.begun
            and history.endings_of(known) == [ending]
        ]
        over = [known for known in alone if known.dead != NEVER]
        if 0 < len(over) < len(alone):
            yield f"half a unit: {len(over)} of {len(alone)} sessions of {scope[:30]} ended"


def _strangers(history: History, image: Image) -> Iterator[str]:
    """A session whose beginning nobody was told of is the successor of an unanswered call."""
    unanswered = sum(
        call.entry.call in {"rotate", "change_credentials"} and not call.answered
        for call in history.calls
    )
    strangers = [handle for handle in image.sessions if handle not in history.known]
    if len(strangers) > unanswered:
        yield f"{len(strangers)} sessions that nobody began, and {unanswered} unanswered rotations"


def _short(handle: str) -> str:
    return handle[10:18]
