"""Creates written by hand: the least that a create into the same tables can be.

No checks, no conflicts, no other writers: a token, its key, the event in the hash chain, the row,
and the answer to the caller. What this takes is taken by the tables and by Python, whatever a
library does. Nobody should keep sessions like this.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from queue import SimpleQueue
from secrets import token_urlsafe
from typing import Any, TypeAlias

import apsw
import msgspec

from benchmarks.bare import DOMAIN, PRAGMAS
from sessionledger import Session
from sessionledger.core.token import Handle
from sessionledger.logs.sqlite import queries

TOPIC = "orchestrator.sessions"
PAGES_BETWEEN_CHECKPOINTS = "PRAGMA wal_autocheckpoint = 4000"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_SCHEMA_HEADER = '"harn.provenance.schema":"harn-eventlog-provenance-v1"}'

_encode = msgspec.json.Encoder().encode
_inserting = cache(queries.inserting)

New: TypeAlias = tuple[bytes, bytes, bytes, int, str]
"""Key, payload, state, end and owner."""


def _new(principal: str, ttl: timedelta, attributes: dict[str, Any]) -> New:
    token = "harn_sess_" + token_urlsafe(32)
    key = sha256(DOMAIN + token.encode()).digest()
    handle = "sha256:v1:" + key.hex()
    now = datetime.now(UTC)
    end = now + ttl
    payload = _encode(
        {
            "record": {
                "attributes": attributes,
                "created_at": now,
                "expires_at": end,
                "last_seen_at": now,
                "principal": principal,
                "token_handle": handle,
            }
        }
    )
    state = _encode(Session(Handle(handle), principal, now, now, end, attributes))
    return key, payload, state, (end - _EPOCH) // _MICROSECOND, principal


class ByHand:
    """One ledger, which nobody else may write to."""

    def __init__(self, path: Path) -> None:
        self._execute = apsw.Connection(str(path)).cursor().execute
        for pragma in (*PRAGMAS, PAGES_BETWEEN_CHECKPOINTS):
            self._execute(pragma).fetchall()
        for statement in queries.SCHEMA:
            self._execute(statement)
        self._execute(queries.SET_HEAD, (TOPIC, 0))
        self._execute(queries.ADD_TOPIC, (TOPIC,)).fetchall()
        self._id = 0
        self._hash = "sha256:" + "0" * 64
        self._waiting: list[tuple[asyncio.Future[None], New]] = []
        self._queue: SimpleQueue[list[tuple[asyncio.Future[None], New]]] = SimpleQueue()
        threading.Thread(target=self._run, daemon=True).start()

    def create(self, principal: str, ttl: timedelta, attributes: dict[str, Any]) -> None:
        self._commit([_new(principal, ttl, attributes)])

    async def create_in_loop(
        self, principal: str, ttl: timedelta, attributes: dict[str, Any]
    ) -> None:
        new = _new(principal, ttl, attributes)
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._hand_over)
        future = loop.create_future()
        self._waiting.append((future, new))
        await future

    def _hand_over(self) -> None:
        waiting, self._waiting = self._waiting, []
        self._queue.put(waiting)

    def _run(self) -> None:
        while True:
            waiting = self._queue.get()
            self._commit([new for _, new in waiting])
            waiting[0][0].get_loop().call_soon_threadsafe(_answer, waiting)

    def _commit(self, batch: Sequence[New]) -> None:
        self._execute("BEGIN IMMEDIATE")
        events: list[object] = []
        rows: list[object] = []
        for key, payload, state, expires, owner in batch:
            self._id += 1
            at = expires // 1000
            headers = self._chain(payload, at)
            events += (TOPIC, self._id, "session_created", payload, headers, at)
            rows += (key, 1, self._id, self._id, owner, expires, True, state, None)
        self._execute(_inserting(queries.ADD_EVENTS, 6, len(batch)), events)
        self._execute(_inserting(queries.ADD_ROWS, 9, len(batch)), rows)
        self._execute(queries.SET_HEAD, (TOPIC, self._id))
        self._execute(queries.SET_FOLDED, (self._id, self._id - len(batch), "", 1))
        self._execute("COMMIT")

    def _chain(self, payload: bytes, at: int) -> str:
        before = f'{{"harn.provenance.prev_hash":"{self._hash}",'
        text = (
            b'{"event_id":%d,"headers":%b%b,"kind":"session_created","occurred_at_ms":%d,'
            b'"payload":%b,"topic":"orchestrator.sessions"}'
        ) % (self._id, before.encode(), _SCHEMA_HEADER.encode(), at, payload)
        self._hash = "sha256:" + sha256(text).hexdigest()
        return f'{before}"harn.provenance.record_hash":"{self._hash}",{_SCHEMA_HEADER}'


def _answer(waiting: Sequence[tuple[asyncio.Future[None], New]]) -> None:
    for future, _ in waiting:
        future.set_result(None)
