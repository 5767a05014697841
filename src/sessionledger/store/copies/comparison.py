"""Whether a copy is that of a ledger: heads, bases and rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import eq
from typing import NoReturn, TypeVar

from sessionledger.core.token import handle_of
from sessionledger.errors import CorruptLog, HistoryCut, LogUnavailable
from sessionledger.logs import chain
from sessionledger.logs.base import ALL_ROWS, Row, StoredEvent
from sessionledger.logs.chain import Head
from sessionledger.logs.compaction.copyable import CopyableLog
from sessionledger.logs.compaction.transfer import PAGE
from sessionledger.store.erasure.lists import see_lists
from sessionledger.store.erasure.rewriting import finish
from sessionledger.store.session_fold import SessionFold

T = TypeVar("T")


def head_of(log: CopyableLog, topic: str, id: int | None = None) -> Head:
    """The head of a topic, or what it was when the event of an id was the newest."""
    newest = log.latest(topic) if id is None else id
    cut = log.cut(topic)
    if newest <= cut.id:
        return cut.head
    found = log.read(topic, newest - 1, 1)
    return chain.head_after(found[0]) if found else Head(newest, None)


def refuse_other(topic: str) -> NoReturn:
    """Raises `LogUnavailable`: what a copy has of a topic was never in this ledger."""
    raise LogUnavailable(
        f"the unfinished copy of another ledger is there, with other events of {topic!r}: name "
        "another address, or remove the copy"
    )


def forget(log: CopyableLog, topic: str) -> None:
    """Erase what was erased in a topic, as far as it is not done in this log."""
    log.fold_with(topic, SessionFold(topic))
    finish(log, topic)


def walked(source: CopyableLog, copied: CopyableLog, topic: str, before: Head) -> None:
    """Walk what was copied behind a head. Raises `CorruptLog` unless it ends as the ledger does."""
    stubs = dict[int, set[str]]()
    events = list(_events(copied, topic, before.id))
    see_lists(events, stubs)
    head = chain.verify(topic, events, before, stubs)
    if head != head_of(source, topic):
        raise CorruptLog(f"the end of {topic!r} differs from the ledger's: copy again")


def compare(source: CopyableLog, copied: CopyableLog, topic: str) -> None:
    """Raises `CorruptLog` if base or rows of a copy differ from the ledger's.

    Raises `HistoryCut` if the ledger was compacted meanwhile, or everybody was logged out.
    """
    head = copied.latest(topic)
    differs = _differing(_base(source, topic), _base(copied, topic), head, eq)
    differs = differs or _differing(_rows(source, topic), _rows(copied, topic), head, _same)
    cut = source.cut(topic)
    if cut != copied.cut(topic) or source.mark(topic) != copied.mark(topic):
        raise HistoryCut(cut.id)
    if differs is not None:
        raise CorruptLog(
            f"the copy of {topic!r} differs at {handle_of(differs)}: `sessionledger rebuild` the "
            "ledger, and copy again"
        )


def _differing(
    there: Iterator[Row], here: Iterator[Row], head: int, same: Callable[[Row, Row], bool]
) -> bytes | None:
    """The first key whose rows differ, but for what happened behind a head."""
    mine = next(here, None)
    for row in there:
        if row.created > head:
            continue
        if mine is None or mine.key != row.key or (row.version <= head and not same(mine, row)):
            return row.key
        mine = next(here, None)
    return None if mine is None else mine.key


def _same(one: Row, other: Row) -> bool:
    """Whether rows are equal, or the same end: a compaction that was interrupted leaves less of it
    in the row than its events tell."""
    return one == other or (one.version == other.version and not (one.live or other.live))


def _base(log: CopyableLog, topic: str) -> Iterator[Row]:
    return _all(lambda after: log.base(topic, b"" if after is None else after.key, PAGE))


def _rows(log: CopyableLog, topic: str) -> Iterator[Row]:
    return _all(lambda after: log.rows(topic, ALL_ROWS, after, PAGE))


def _events(log: CopyableLog, topic: str, after: int) -> Iterator[StoredEvent]:
    start = max(after, log.cut(topic).id)
    return _all(lambda last: log.read(topic, start if last is None else last.id, PAGE))


def _all(read: Callable[[T | None], Sequence[T]]) -> Iterator[T]:
    after: T | None = None
    while page := read(after):
        yield from page
        after = page[-1]
