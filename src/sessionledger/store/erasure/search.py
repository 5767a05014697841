"""Finding what a topic holds of a person: in its base, in its archive, and in its events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from sessionledger.core.annotations import SALT
from sessionledger.core.events import CREATED, SEALED, Created, DecodedEvent, Erased, Touched
from sessionledger.core.history import decoded
from sessionledger.core.token import Handle, handle_of, key_of
from sessionledger.logs import chain
from sessionledger.logs.base import Log, StoredEvent
from sessionledger.logs.compaction.contract import CompactableLog
from sessionledger.logs.compaction.segments import Archive
from sessionledger.store.erasure.rewriting import (
    RowsAfter,
    base_after,
    segment_of,
    stub_for,
    told_by,
)
from sessionledger.store.erasure.stubs import Replaced, Who, is_erasable, mentioning
from sessionledger.store.session_fold import intact_session_of

_PAGE = 1000
_RECORDED = re.compile(rb'"handle":"(sha256:v1:[0-9a-f]{64})"')


class Mention(msgspec.Struct, frozen=True, kw_only=True):
    """An event of somebody else that says something of an erased person.

    where: the headers that do, and `payload` for what the application said. `session` stands for a
    session of another principal in the same family, as a visitor has before the log in.
    """

    topic: str
    event_id: int
    handle: Handle | None
    where: tuple[str, ...]


class Search:
    """What one topic holds. The caller has the lease.

    keys: of the sessions that are erased, with a row or without. relatives: handles of their
    families. guessable: how many of the events found have no salt, so that their hash may confirm
    a guess.
    """

    def __init__(self, log: Log, ledger: CompactableLog, topic: str, who: Who) -> None:
        self._log, self._ledger, self.topic, self._who = log, ledger, topic, who
        self._cut = ledger.cut(topic)
        self._pattern = who.pattern()
        self.keys: dict[bytes, None] = {}
        self.relatives: set[str] = set()
        self.mentions: list[Mention] = []
        self.guessable = 0
        last = segment_of(log, topic, self._cut)
        self._archive = None
        if last is not None:
            self._archive = Archive(Path(last.folder), topic, self._cut, last)

    def find_sessions(self) -> None:
        """Find all sessions of the person that the topic knows or knew."""
        after = b""
        while rows := self._ledger.base(self.topic, after, _PAGE):
            after = rows[-1].key
            for row in rows:
                session = intact_session_of(row)
                if session is not None and self._who.owns(session, session.handle):
                    self._add(row.key, session.family)
        for event in self._events(0):
            happened = decoded(event) if event.kind == CREATED else None
            key = None if happened is None else key_of(happened.token_handle)
            if happened is not None and key is not None and self._is_theirs(happened, event):
                self._add(key, happened.family if isinstance(happened, Created) else None)

    def _add(self, key: bytes, family: str | None) -> None:
        self.keys[key] = None
        self.relatives.update(name for name in (handle_of(key), family) if name is not None)

    def _is_theirs(self, happened: DecodedEvent, event: StoredEvent) -> bool:
        if isinstance(happened, Created):
            return self._who.owns(happened, happened.token_handle)
        # It can't be read, and its handle is all that is known for sure.
        is_named = self._pattern is not None and bool(self._pattern.search(_text(event)))
        return is_named or happened.token_handle in self._who.handles

    def find_events(self, after: int, handles: set[str], *, mentions: bool) -> list[Replaced]:
        """The events above an id that are to be replaced.

        handles: of all sessions that are erased, in any topic. mentions: also replace what others
        say. What is only found is added to `mentions`.
        """
        judged = [
            (event, blanked)
            for event in self._events(after)
            if (blanked := self._judge(event, handles, mentions=mentions)) is not None
        ]
        rows = RowsAfter(self.keys)
        for event, blanked in judged:
            rows.see(event, blanked)
        base = base_after(self._ledger, self.topic, rows.row) if self._cut.id else ""
        found = [
            self._replaced(event, blanked, base if self._is_newest(event) else "")
            for event, blanked in judged
        ]
        return [one for one in found if one is not None]

    def _replaced(self, event: StoredEvent, names: tuple[str, ...], base: str) -> Replaced | None:
        """What a list says of an event; None for one that is a stub already."""
        stub = stub_for(self.topic, event, names, base).headers[chain.STUB_HEADER]
        if stub == event.headers.get(chain.STUB_HEADER):
            return None
        self.guessable += SALT not in event.headers and chain.STUB_HEADER not in event.headers
        return Replaced(event.id, event.headers.get(chain.HASH_HEADER), stub, names)

    def _judge(
        self, event: StoredEvent, handles: set[str], *, mentions: bool
    ) -> tuple[str, ...] | None:
        """The headers of an event to be blanked; none of them to replace all of it; None to leave
        it as it is."""
        if event.kind == SEALED:
            is_due = self._is_newest(event) or chain.STUB_HEADER not in event.headers
            return () if self.keys and is_due else None
        happened, told = decoded(event), told_by(event)
        if happened is None or isinstance(happened, Erased):
            return None
        key = key_of(happened.token_handle)
        if key is not None and _records(happened, handles):
            self.keys[key] = None
        if key is not None and key not in self.keys and self._is_relative(happened):
            if mentions:
                self.keys[key] = None
            else:
                self._mention(event, happened, ("session",))
        if key in self.keys:
            return () if is_erasable(happened, told) else None
        where = mentioning(told, self._pattern)
        is_named = self._pattern is not None and self._pattern.search(_text(event))
        left = (*(() if mentions else where), *(("payload",) if is_named else ()))
        if left:
            self._mention(event, happened, left)
        return where if mentions and where else None

    def _is_relative(self, happened: DecodedEvent) -> bool:
        if not isinstance(happened, Created):
            return False
        return not self.relatives.isdisjoint((happened.token_handle, happened.family or ""))

    def _mention(self, event: StoredEvent, happened: DecodedEvent, where: tuple[str, ...]) -> None:
        handle = Handle(happened.token_handle) if happened.token_handle else None
        told = Mention(topic=self.topic, event_id=event.id, handle=handle, where=where)
        self.mentions.append(told)

    def _is_newest(self, event: StoredEvent) -> bool:
        return event.id == self._cut.seal

    def _events(self, after: int) -> Iterator[StoredEvent]:
        for page in () if self._archive is None else self._archive.pages(after):
            yield from page
        after = max(after, self._cut.id)
        while page := self._log.read(self.topic, after, _PAGE):
            yield from page
            after = page[-1].id


def _records(happened: DecodedEvent, handles: set[str]) -> bool:
    """Whether a session is the record of a request that began one of those sessions."""
    if not isinstance(happened, Created | Touched) or not happened.attributes:
        return False
    named = _RECORDED.findall(happened.attributes)
    return any(handle.decode() in handles for handle in named)


def _text(event: StoredEvent) -> str:
    return event.payload.decode(errors="replace")
