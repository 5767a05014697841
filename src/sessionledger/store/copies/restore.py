"""Making a ledger from a backup, in which nobody is logged in.

1. A copy of the backup is opened and verified. Each topic gets an event that says that later ones
   are lost. Its id is far above those, so that no id has two meanings. A mark follows, which ends
   every session: it may have been ended after the backup. What was erased since is erased again.
2. A ledger without events takes all topics over, in one transaction.
3. The rows are folded, which anybody who opens the ledger would do otherwise.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec.structs import replace

from sessionledger.core.annotations import REASON
from sessionledger.core.codec import encode_event
from sessionledger.core.events import EXPIRED, KINDS, RESTORED, Everybody
from sessionledger.core.instant import microseconds, parse_instant
from sessionledger.core.token import handle_of, parse_handle
from sessionledger.errors import LogError, LogUnavailable, NotALedger
from sessionledger.logs import chain
from sessionledger.logs.base import Log, LogEvent, Progress, StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.transfer import Transfer, transfer_of
from sessionledger.logs.sqlite import SQLiteLog
from sessionledger.logs.sqlite.backup_file import unmark
from sessionledger.logs.url import open_log
from sessionledger.ownership import resolved
from sessionledger.secrecy import without_locals
from sessionledger.store.audit.reports import Verification
from sessionledger.store.clock import Clock, system_clock
from sessionledger.store.copies.backup import counted, refuse_broken, verified
from sessionledger.store.copies.kept_sessions import RESTORING, ends_of
from sessionledger.store.copies.results import Restored, RestoredTopic
from sessionledger.store.operations.everybody import MARKED
from sessionledger.store.session_fold import SessionFold

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
    clock: Clock = system_clock,
    progress: Progress | None = None,
) -> Restored:
    """Make a ledger from a backup, at an address that has none. Every session is ended.

    keep_live: a newer backup of the same ledger. Sessions that are live in it stay live, and all
    others are ended. What was ended after it comes back. `accept_breaks=True` restores a backup
    whose chain breaks. The sessions of the handles `erased`, which `erasures` answered, are erased
    before anybody can read them.
    Raises `NotALedger` for what is no backup, and `CorruptLog` for a damaged one. Raises
    `LogUnavailable` for a ledger that has events or can't take topics over, and for a newer backup
    that does not continue the other one. Raises what `open_log` raises.
    """
    now = parse_instant("clock", clock())
    with ExitStack() as opened:
        source = opened.enter_context(_opened(Path(backup).absolute()))
        found = [verified(source, topic) for topic in source.topics()]
        if not accept_breaks:
            refuse_broken(found, "the backup")
        ends = None
        if keep_live is not None:
            newer = opened.enter_context(_opened(Path(keep_live).absolute()))
            refuse_broken([verified(newer, topic) for topic in newer.topics()], "the newer backup")
            ends = {one.head.topic: ends_of(source, newer, one.head, now) for one in found}
        handles = [handle_of(parse_handle(handle)) for handle in erased]
        topics = _ended_topics(source, found, now, ends)
        if handles:
            topics = opened.enter_context(_erased(topics, handles, clock))
        return _restored(topics, found, url, now, ends, progress)


def _ended_topics(
    source: SQLiteLog,
    found: Sequence[Verification],
    now: datetime,
    ends: Mapping[str, Sequence[LogEvent]] | None,
) -> dict[str, Transfer]:
    end = _mark(now)
    return {
        name: _ended(name, transfer_of(source, name), end, None if ends is None else ends[name])
        for name in (one.head.topic for one in found)
    }


@contextmanager
def _erased(
    topics: Mapping[str, Transfer], handles: Collection[str], clock: Clock
) -> Iterator[dict[str, Transfer]]:
    """The topics without some sessions. What an erasure appends follows the lost events: its ids
    are not theirs."""
    from sessionledger.store.erasure.erase import erase_again  # few restores do

    with (
        TemporaryDirectory(prefix="sessionledger-") as folder,
        closing(SQLiteLog(resolved(folder) / "ledger", durability="normal")) as log,
    ):
        log.compactable().receive(topics)
        erase_again(log, handles, clock)
        yield {name: transfer_of(log, name) for name in topics}


def _restored(
    topics: dict[str, Transfer],
    found: Sequence[Verification],
    url: str,
    now: datetime,
    ends: Mapping[str, Sequence[LogEvent]] | None,
    progress: Progress | None,
) -> Restored:
    with closing(open_log(url)) as target:
        receiving = target.compactable()
        if receiving is None:
            raise LogUnavailable("the log at this address can't take a backup over")
        receiving.receive(counted(topics, progress))
        end = _mark(now)
        try:
            return Restored(topics=tuple(_folded(target, one, end, ends) for one in found))
        except LogUnavailable as error:
            raise LogUnavailable(
                f"the ledger is restored, and its rows have yet to be folded: {error}. Do not "
                "restore again. The next process that opens the ledger folds them"
            ) from error


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


def _ended(
    topic: str, source: Transfer, end: LogEvent, ends: Sequence[LogEvent] | None
) -> Transfer:
    """A topic of a backup, and the events that end it: `ends`, or `end` if it has sessions."""

    def events() -> Iterator[Sequence[StoredEvent]]:
        head, has_sessions = source.cut.head, source.cut.id > 0
        for page in source.events():
            yield page
            head = chain.head_after(page[-1])
            has_sessions = has_sessions or any(event.kind in KINDS for event in page)
        closing = ([end] if has_sessions else []) if ends is None else ends
        linked, id = list[StoredEvent](), _id_after(head.id, end)
        for event in (_lost(head, end), *closing):
            linked.append(chain.link(topic, event, id, head.hash))
            head, id = chain.head_after(linked[-1]), id + 1
        yield linked

    return replace(source, events=events)


def _id_after(last: int, end: LogEvent) -> int:
    """An id above those of all lost events. No ledger writes one each microsecond, so it is also
    above those that a ledger wrote which was restored from the same backup earlier."""
    by_time = min(end.occurred_at_ms * 1000, _LATEST) + JUMP
    return by_time if by_time > last else last + JUMP


def _mark(now: datetime) -> LogEvent:
    """What ends everybody."""
    at_ms = microseconds(now) // 1000
    return LogEvent(*encode_event(Everybody(now)), {REASON: RESTORING}, at_ms)


def _lost(head: Head, end: LogEvent) -> LogEvent:
    payload = msgspec.json.encode({"after": head.id})
    return LogEvent(RESTORED, payload, {}, end.occurred_at_ms)


def _folded(
    log: Log, found: Verification, end: LogEvent, ends: Mapping[str, Sequence[LogEvent]] | None
) -> RestoredTopic:
    topic, last = found.head.topic, found.head.id
    log.fold_with(topic, SessionFold(topic))
    told = () if ends is None else ends[topic]
    ended = log.count(topic, MARKED) + sum(event.kind == EXPIRED for event in told)
    restored = _id_after(last, end)
    return RestoredTopic(topic=topic, events=found.events, ended=ended, restored=restored)
