"""Making a ledger from a backup, in which nobody is logged in.

1. A copy of the backup is opened and verified. Each topic gets an event that says that later ones
   are lost. Its id is far above those, so that no id has two meanings. A mark follows, which ends
   every session: it may have been ended after the backup. What was erased since is erased again.
2. That is copied to the new address, as `copy` does it: nobody opens a ledger that is not whole. A
   restore that was killed is gone on with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from sessionledger.core.annotations import REASON
from sessionledger.core.codec import encode_event
from sessionledger.core.events import EXPIRED, KINDS, RESTORED, Everybody
from sessionledger.core.instant import from_milliseconds, microseconds, parse_instant
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import HistoryCut, LogError, LogUnavailable, NotALedger
from sessionledger.logs import chain
from sessionledger.logs.base import LogEvent, Progress, StoredEvent
from sessionledger.logs.compaction.copyable import Staged
from sessionledger.logs.compaction.transfer import transfer_of
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.logs.sqlite.backup_file import unmark
from sessionledger.logs.url import staged_at
from sessionledger.ownership import resolved
from sessionledger.secrecy import without_locals
from sessionledger.store.audit.reports import Verification
from sessionledger.store.clock import Clock, system_clock
from sessionledger.store.copies.backup import refuse_broken, verified
from sessionledger.store.copies.comparison import head_of
from sessionledger.store.copies.copy import Copying, copyable
from sessionledger.store.copies.kept_sessions import RESTORING, ends_of
from sessionledger.store.copies.results import Restored, RestoredTopic
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.operations.everybody import MARKED

JUMP = 1_000_000_000
"""More events than any ledger wrote after its backup."""

_LATEST = 2**52
"""Of the year 2112, in microseconds. JavaScript counts exactly up to 2**53."""


@without_locals
def restore(
    backup: str | Path,
    url: str,
    *,
    keep_live: str | Path | None = None,
    accept_breaks: bool = False,
    erased: Collection[str] = (),
    is_erased: Callable[[str], bool] | None = None,
    clock: Clock = system_clock,
    progress: Progress | None = None,
) -> Restored:
    """Make a ledger from a backup, at an address that has none. Every session is ended.

    keep_live: a newer backup of the same ledger. Sessions that are live in it stay live, and all
    others are ended. What was ended after it comes back. `accept_breaks=True` restores a backup
    whose chain breaks. The sessions of the handles `erased`, which `erasures` answered, are erased
    before anybody can read them. So are those of principals for whom `is_erased` answers True.
    Raises `NotALedger` for what is no backup, and `CorruptLog` for a damaged one. Raises
    `LogUnavailable` for an address that has a ledger, or an unfinished copy of another one. Raises
    it too for a newer backup that does not continue the other one, and what `open_log` raises.
    """
    staged = staged_at(url)
    with _opened(Path(backup).absolute()) as source:
        found = _verified(source)
        if not accept_breaks:
            refuse_broken(found, "the backup")
        now = _begun(staged, found) or _now(clock)
        ends = _ends(source, found, keep_live, now)
        for topic, events in ends.items():
            _append(source, topic, [_lost(source.latest(topic), now), *events], now)
        if erased or is_erased is not None:
            from sessionledger.store.erasure.erase import erase_again  # few restores do

            handles = [handle_of(parse_handle(one)) for one in erased]
            erase_again(source, handles, is_erased, lambda: now)
        with closing(staged.open()) as draft:
            Copying(source, progress).to(copyable(draft), staged, accept_breaks=accept_breaks)
        told = tuple(_told(source, one, ends[one.head.topic], now) for one in found)
        staged.put()
        return Restored(topics=told)


def _now(clock: Clock) -> datetime:
    """The time, in milliseconds: an event has no more, and a restore goes on by it."""
    return from_milliseconds(microseconds(parse_instant("clock", clock())) // 1000)


def _verified(backup: SQLiteLog) -> list[Verification]:
    """What was verified of each topic. One of sessions is always among them: a ledger whose backup
    is empty had sessions later, and those were lost."""
    return [verified(backup, topic) for topic in sorted({SESSIONS_TOPIC, *backup.topics()})]


def _begun(staged: Staged, found: Sequence[Verification]) -> datetime | None:
    """When a restore began that was killed after it had copied an event of its own."""
    if staged.is_there():
        with closing(staged.open()) as draft, suppress(HistoryCut):
            for one in found:
                for event in draft.read(one.head.topic, one.head.id, 1):
                    if event.kind == RESTORED:
                        return from_milliseconds(event.occurred_at_ms)
    return None


def _ends(
    source: SQLiteLog,
    found: Sequence[Verification],
    keep_live: str | Path | None,
    now: datetime,
) -> dict[str, Sequence[LogEvent]]:
    """What ends the sessions of each topic: a mark, or an end for each that does not stay live."""
    heads = [one.head for one in found]
    if keep_live is None:
        end = LogEvent(*encode_event(Everybody(now)), {REASON: RESTORING}, _at_ms(now))
        return {one.topic: [end] if _holds_sessions(source, one.topic) else [] for one in heads}
    with _opened(Path(keep_live).absolute()) as newer:
        refuse_broken([verified(newer, topic) for topic in newer.topics()], "the newer backup")
        return {one.topic: ends_of(source, newer, one, now) if one.id else [] for one in heads}


def _append(backup: SQLiteLog, topic: str, events: Sequence[LogEvent], now: datetime) -> None:
    """Append to a topic of a backup what its ledger did not have."""
    head, linked = head_of(backup, topic), list[StoredEvent]()
    id = _id_after(head.id, now)
    for event in events:
        linked.append(chain.link(topic, event, id, head.hash))
        head, id = chain.head_after(linked[-1]), id + 1
    backup.extend(topic, linked)


def _holds_sessions(backup: SQLiteLog, topic: str) -> bool:
    events = (event for page in transfer_of(backup, topic).events(0) for event in page)
    return bool(backup.cut(topic).id) or any(event.kind in KINDS for event in events)


@contextmanager
def _opened(backup: Path) -> Iterator[SQLiteLog]:
    """A copy of a backup, as a ledger. The backup stays as it is, also where its schema is old."""
    with ExitStack() as opened:
        try:
            if not backup.is_file():
                raise NotALedger(f"there is no backup at {backup}")
            folder = opened.enter_context(TemporaryDirectory(prefix="sessionledger-"))
            copy = resolved(folder) / backup.name
            shutil.copyfile(backup, copy)
            copy.chmod(0o600)
        except OSError as error:
            raise LogUnavailable(f"{backup} can't be unpacked: {error}") from error
        try:
            unmark(copy)
            yield opened.enter_context(closing(SQLiteLog(copy, durability="normal")))
        except LogError as error:
            error.args = (str(error).replace(str(copy), str(backup)),)
            raise


def _id_after(last: int, now: datetime) -> int:
    """An id above those of all lost events. No ledger writes one each microsecond, so it is also
    above those that a ledger wrote which was restored from the same backup earlier."""
    by_time = min(microseconds(now), _LATEST) + JUMP
    return by_time if by_time > last else last + JUMP


def _lost(last: int, now: datetime) -> LogEvent:
    return LogEvent(RESTORED, msgspec.json.encode({"after": last}), {}, _at_ms(now))


def _at_ms(now: datetime) -> int:
    return microseconds(now) // 1000


def _told(
    source: SQLiteLog, found: Verification, ends: Sequence[LogEvent], now: datetime
) -> RestoredTopic:
    topic, last = found.head.topic, found.head.id
    ended = source.count(topic, MARKED) + sum(event.kind == EXPIRED for event in ends)
    restored = _id_after(last, now)
    return RestoredTopic(topic=topic, events=found.events, ended=ended, restored=restored)
