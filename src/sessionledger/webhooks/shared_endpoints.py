"""Endpoints in a ledger that several machines share.

They are one document of the log, which is replaced by compare-and-set. Another document is the
lease: its holder writes a new text there every few seconds. A process that sees the same text for
longer takes it over. Each process measures by its own clock, and a pooler may be between.
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_hex
from time import monotonic

import msgspec

from sessionledger import CorruptLog, DocumentLog, WriteContention
from sessionledger.webhooks.endpoints import Endpoints, Known

ENDPOINTS, DISPATCHER = "webhooks.endpoints", "webhooks.dispatcher"
ATTEMPTS = 50
LEASE_SECONDS, RENEW_SECONDS = 8.0, 2.0


class Document(msgspec.Struct):
    """The endpoints. change: a random text, so that two changes never write the same."""

    endpoints: Known = ()
    change: str = ""


class SharedEndpoints(Endpoints):
    """The document of the endpoints."""

    def __init__(self, log: DocumentLog) -> None:
        self._log = log

    def __str__(self) -> str:
        return "the ledger"

    def read(self) -> Known:
        return _decode(self._log.document(ENDPOINTS))

    def lease(self) -> SharedLease:
        return SharedLease(self._log)

    def _change(self, change: Callable[[Known], Known]) -> None:
        for _ in range(ATTEMPTS):
            before = self._log.document(ENDPOINTS)
            known = _decode(before)
            after = change(known)
            if after == known:
                return
            if self._log.replace_document(ENDPOINTS, before, _encode(after)):
                return
        raise WriteContention("others change the webhook endpoints all the time: try again later")


class SharedLease:
    """As in `Lease`. It ends some seconds after its process."""

    def __init__(self, log: DocumentLog) -> None:
        self._log = log
        self._me = token_hex(8).encode()
        self._mine = self._seen = b""
        self._since = self._written = -LEASE_SECONDS

    @property
    def seconds_left(self) -> float:
        return max(0.0, self._written + LEASE_SECONDS - monotonic())

    def hold(self) -> bool:
        now = monotonic()
        found = self._log.document(DISPATCHER)
        if found != self._seen:
            self._seen, self._since = found, now
        is_mine = found.startswith(self._me)
        if is_mine and now - self._written < RENEW_SECONDS:
            return True
        if found and not is_mine and now - self._since < LEASE_SECONDS:
            return False
        mine = self._me + token_hex(8).encode()
        if not self._log.replace_document(DISPATCHER, found, mine):
            return False
        # It counts from before it was written: everybody else saw it later.
        self._mine, self._written = mine, now
        return True

    def release(self) -> None:
        if self._mine:
            self._log.replace_document(DISPATCHER, self._mine, b"")


def _encode(endpoints: Known) -> bytes:
    return msgspec.json.encode(Document(endpoints, token_hex(8)))


def _decode(document: bytes) -> Known:
    try:
        return msgspec.json.decode(document or b"{}", type=Document).endpoints
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CorruptLog(
            "the document of the webhook endpoints is damaged: restore it, or empty it and add the "
            "endpoints again"
        ) from None
