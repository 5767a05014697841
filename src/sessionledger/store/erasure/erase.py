"""Erasing a person: their sessions end, and then nothing tells whose they were.

1. Under the lease, what an interrupted erasure left is finished. The live sessions end.
2. In every topic the events of the sessions are found, and what others say of the person.
3. Lists are appended, which name the events and their stubs. Then each topic is rewritten by them.
   So a process that is killed from here on leaves what any maintenance finishes.
4. The events since the search are looked at in the same way, until nothing is found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import msgspec

from sessionledger.core.ends import Expire
from sessionledger.core.events import ERASURE
from sessionledger.core.families import family_of
from sessionledger.core.instant import microseconds
from sessionledger.core.parse import parse_principal
from sessionledger.core.policy import Policy
from sessionledger.core.token import Handle, handle_of, parse_handle
from sessionledger.errors import InvalidSession, LogUnavailable
from sessionledger.logs.adapters.immediate import ImmediateLog, drive
from sessionledger.logs.base import Appended, Change, Log, LogEvent, Progress, Unit
from sessionledger.logs.compaction.contract import CompactableLog, ErasableLog
from sessionledger.store.clock import Clock
from sessionledger.store.engine import NO_ANNOTATION, SESSIONS_TOPIC, Engine
from sessionledger.store.erasure.rewriting import finish
from sessionledger.store.erasure.search import Mention, Search
from sessionledger.store.erasure.stubs import ErasureList, Replaced, Who, encode_list
from sessionledger.store.maintenance import Maintenance
from sessionledger.store.operations.everybody import BATCH, end_marked
from sessionledger.store.operations.families import revoke
from sessionledger.store.operations.listings import ANYBODY, Selection
from sessionledger.store.operations.principals import revoke_all
from sessionledger.store.session_fold import intact_session_of

LISTED_AT_ONCE = 500


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did, and what is left.

    handles: of the erased sessions, which keep their tombstones. events: how many were replaced by
    stubs. guessable: so many of them were written without a salt, by an earlier version or another
    program. Their hash may confirm a guess until retention removes them. mentions: what others say
    of the person and was left. pending: where something is left for now; maintenance goes on.
    remains: where something may be left that only others can remove.
    """

    handles: tuple[Handle, ...]
    events: int
    guessable: int
    mentions: tuple[Mention, ...]
    pending: tuple[str, ...]
    remains: tuple[str, ...]


def erase(
    log: Log,
    engine: Engine,
    engine_of: Callable[[str], Engine | None],
    principal: object,
    handle: object,
    progress: Progress | None,
    *,
    mentions: bool,
) -> Erasure:
    """Erase a principal, or the session of a handle. Raises `InvalidSession`."""
    if (principal is None) == (handle is None):
        raise InvalidSession("principal", "or handle: erase takes one of them")
    eraser = Eraser(log, engine_of, progress, mentions=mentions)
    return eraser.principal(principal) if handle is None else eraser.handle(engine, handle)


def erase_again(
    log: Log, handles: Collection[str], is_erased: Callable[[str], bool] | None, clock: Clock
) -> None:
    """Erase sessions of a ledger that is being made, as they were erased in another one."""
    engine = Engine(ImmediateLog(log), SESSIONS_TOPIC, Policy(), clock)
    engine_of = Maintenance(engine, log, None).engine_of
    Eraser(log, engine_of, None, mentions=False).who(Who(None, frozenset(handles), is_erased))


class Eraser:
    """Erases one person from a ledger. engine_of: what a topic of sessions is asked by."""

    def __init__(
        self,
        log: Log,
        engine_of: Callable[[str], Engine | None],
        progress: Progress | None,
        *,
        mentions: bool,
    ) -> None:
        """mentions: also replace what others say. Raises `LogUnavailable`."""
        ledger = log.compactable()
        if ledger is None or not isinstance(ledger, ErasableLog):
            raise LogUnavailable("the log of this ledger can't erase anybody yet")
        self._log, self._progress, self._mentions = log, progress, mentions
        self._ledger: CompactableLog = ledger
        self._engine_of = engine_of
        self._pending: dict[str, None] = {}
        self._remains: dict[str, None] = {}

    def principal(self, principal: object) -> Erasure:
        """Erase a principal, in every topic."""
        name = parse_principal(principal, ANYBODY)
        with self._ledger.lease():
            engines = list(self._engines())
            for engine in engines:
                while drive(end_marked(engine, BATCH)) == BATCH:
                    pass
                drive(revoke_all(engine, Selection(name), (), NO_ANNOTATION))
            return self._erase(engines, Who(name))

    def handle(self, engine: Engine, handle: object) -> Erasure:
        """Erase the session of a handle, with what it was rotated from and into."""
        key = parse_handle(handle)
        session = intact_session_of(self._log.row(engine.topic, key))
        family = frozenset() if session is None else {family_of(session)}
        return self.who(Who(None, family | {handle_of(key)}))

    def who(self, who: Who) -> Erasure:
        """Erase some sessions, with those that were rotated from them."""
        with self._ledger.lease():
            return self._erase(list(self._engines()), who)

    def _engines(self) -> Iterator[Engine]:
        for topic in self._log.topics():
            engine = self._engine_of(topic)
            if engine is not None:
                self._finish(topic)
                yield engine

    def _erase(self, engines: Sequence[Engine], who: Who) -> Erasure:
        searches = [Search(self._log, self._ledger, engine.topic, who) for engine in engines]
        for search in searches:
            search.find_sessions()
        handles: set[str] = {handle_of(key) for search in searches for key in search.keys}
        events = 0
        for engine, search in zip(engines, searches, strict=True):
            events += self._erase_topic(engine, search, handles)
        keys = {key: None for search in searches for key in search.keys}
        return Erasure(
            handles=tuple(map(handle_of, keys)),
            events=events,
            guessable=sum(search.guessable for search in searches),
            mentions=tuple(one for search in searches for one in search.mentions),
            pending=tuple(self._pending),
            remains=tuple(self._remains),
        )

    def _erase_topic(self, engine: Engine, search: Search, handles: set[str]) -> int:
        self._end(engine, search)
        after, events = 0, 0
        while True:
            upto = self._log.latest(engine.topic)
            found = search.find_events(after, handles, mentions=self._mentions)
            if not found and (after or not search.keys):
                return events
            self._end(engine, search)
            self._list(engine, found, [handle_of(key) for key in search.keys])
            self._finish(engine.topic)
            after, events = upto, events + len(found)

    def _end(self, engine: Engine, search: Search) -> None:
        for key in search.keys:
            row = self._log.row(engine.topic, key)
            if row is not None and row.live:
                command = Expire(cause="revoked")
                drive(revoke(engine, handle_of(key), command, NO_ANNOTATION))

    def _list(self, engine: Engine, found: Sequence[Replaced], handles: Sequence[Handle]) -> None:
        at_ms = microseconds(engine.clock()) // 1000
        for first in range(0, max(len(found), len(handles)), LISTED_AT_ONCE):
            page = slice(first, first + LISTED_AT_ONCE)
            listed = ErasureList(tuple(found[page]), tuple(handles[page]))
            event = LogEvent(ERASURE, encode_list(listed), {}, at_ms)
            (outcome,) = self._log.append(engine.topic, [Unit((Change(event),))])
            assert isinstance(outcome, Appended)

    def _finish(self, topic: str) -> None:
        left = finish(self._log, topic, self._progress)
        self._pending.update(dict.fromkeys(left.pending))
        self._remains.update(dict.fromkeys(left.remains))
