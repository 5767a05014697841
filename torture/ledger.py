"""What is in a ledger: read by the public store, after everybody who wrote has ended."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from sessionledger import HistoryCut, Policy, Session, SessionStore, StoredEvent

POLICY = Policy(
    max_rotations_per_minute=1_000_000,
    max_successors=1000,
    max_children=100_000,
    max_child_depth=1000,
)


HASH = "harn.provenance.record_hash"


class Event(NamedTuple):
    """An event of the sessions topic. One without a hash is a stranger's."""

    id: int
    kind: str
    handle: str
    is_chained: bool = True


class Image(NamedTuple):
    """The whole ledger.

    broken: what is wrong with the chain, strangers' events aside. findings: the problems that the
    doctor names. refolded: the sessions after all rows were folded again.
    """

    events: list[Event]
    sessions: dict[str, Session]
    refolded: dict[str, Session]
    broken: str
    findings: list[str]


class _Payload(msgspec.Struct):
    token_handle: str = ""
    record: dict[str, object] = {}


def observe(store: SessionStore, archive: Path | None = None) -> Image:
    """Read everything, by each way that there is; with an archive, from the first event on."""
    sessions = _sessions(store)
    verified = store.verify(archive=archive)
    findings = [
        f"{found.code}: {found.subject}: {found.problem}"
        for found in store.diagnose()
        if found.severity == "problem"
    ]
    left = events_left(store) if archive is None else store.events(archive=archive)
    events = [Event(e.id, e.kind, handle_in(e.payload), HASH in e.headers) for e in left]
    store.rebuild()
    broken = verified.broken
    if broken is None or broken.id in strangers(events):
        said = ""
    else:
        said = f"event {broken.id}: {broken.problem}"
    return Image(events, sessions, _sessions(store), said, findings)


def strangers(events: Sequence[Event]) -> set[int]:
    """The events that no chain can vouch for, since another program appended them."""
    return {event.id for event in events if not event.is_chained}


def events_left(store: SessionStore) -> list[StoredEvent]:
    """Every event that no compaction removed."""
    try:
        return list(store.events())
    except HistoryCut as error:
        return list(store.events(after=error.cut))


def handle_in(payload: bytes) -> str:
    """The handle that an event names; empty if it names none."""
    try:
        read = msgspec.json.decode(payload, type=_Payload)
    except msgspec.MsgspecError:
        return ""
    return read.token_handle or str(read.record.get("token_handle", ""))


def _sessions(store: SessionStore) -> dict[str, Session]:
    return {one.handle: one for one in store.sessions(state="all", superseded=True)}
