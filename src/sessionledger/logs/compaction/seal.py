"""The seal: the event that says which events were removed, and what remained of them.

The hash of a base is over the hashes of its entries, in the order of their keys. An entry is what a
row holds, in MessagePack.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from hashlib import sha256
from os import urandom

import msgspec
from msgspec.structs import replace

from sessionledger.errors import CorruptLog
from sessionledger.logs.base import LogEvent, Row, StoredEvent
from sessionledger.logs.chain import Break
from sessionledger.logs.compaction.contract import Compaction, Cut, Segment, encode_row

KIND = "history_sealed"
"""The reference ignores it, as it does every kind that it does not know."""

_text = msgspec.json.Encoder(order="sorted")


SALT = "sessionledger.salt"


class Seal(msgspec.Struct, frozen=True):
    """What a seal says.

    cut, cut_hash: the last event that was removed. removed: how many events this compaction
    removed, and newest_at_ms: when the newest of them happened. base: the hash of the base.
    previous: the seal before it, 0 for the first. retention_ms: how long events are kept.
    archive: the segment with the removed events, None if they were not archived.
    forgotten: how many keys this compaction forgot.
    """

    cut: int
    cut_hash: str | None
    removed: int
    newest_at_ms: int
    base: str
    previous: int
    retention_ms: int
    archive: Segment | None = None
    forgotten: int = 0


class BaseHash:
    """Sees the rows of a base in the order of their keys."""

    def __init__(self) -> None:
        self._hash = sha256()

    def see(self, rows: Iterable[Row]) -> None:
        """Some more rows."""
        for row in rows:
            self._hash.update(sha256(encode_row(row)).digest())

    def __str__(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def seal(
    compaction: Compaction, before: Cut, base: BaseHash, segment: Segment | None, forgotten: int
) -> LogEvent:
    """The event that seals a compaction of a topic with the cut `before`."""
    removal = compaction.removal
    told = Seal(
        removal.head.id,
        removal.head.hash,
        removal.events,
        removal.newest_ms,
        str(base),
        before.seal,
        compaction.retention_ms,
        segment,
        forgotten,
    )
    # The base has personal data, and with a salt its hash confirms no guess of them.
    salt = b64encode(urandom(16))[:22].decode()
    return LogEvent(KIND, _text.encode(told), {SALT: salt}, compaction.at_ms)


def with_base(sealed: StoredEvent, base: str) -> bytes:
    """The payload of a seal whose base is another one now. Raises `CorruptLog`."""
    return _text.encode(replace(read_seal(sealed), base=base))


def read_seal(event: StoredEvent) -> Seal:
    """What a seal says. Raises `CorruptLog`."""
    try:
        if event.kind != KIND:
            raise CorruptLog(f"event {event.id} is no seal, and the ledger says that it is one")
        return msgspec.json.decode(event.payload, type=Seal)
    except msgspec.DecodeError:
        raise CorruptLog(f"the seal {event.id} can't be read") from None


def problem_of(cut: Cut, sealed: StoredEvent | None, base: BaseHash) -> Break | None:
    """How a topic differs from what its seal says, if it does."""
    if sealed is None:
        return Break(cut.seal, "the seal of the removed events is not there")
    try:
        told = read_seal(sealed)
    except CorruptLog as error:
        return Break(cut.seal, str(error))
    if (told.cut, told.cut_hash) != (cut.head.id, cut.head.hash):
        return Break(cut.seal, f"its cut is {told.cut}, and the ledger's is {cut.id}")
    if told.base != str(base):
        return Break(cut.seal, "the base does not match its hash in the seal: it was changed")
    return None
