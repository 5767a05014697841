"""What is in a ledger: read by the public store, after everybody who wrote has ended."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from sessionledger import Policy, Session, SessionStore

POLICY = Policy(max_rotations_per_minute=1_000_000, max_successors=1000)


class Event(NamedTuple):
    """An event of the sessions topic."""

    id: int
    kind: str
    handle: str


class Image(NamedTuple):
    """The whole ledger.

    broken: what is wrong with the chain. findings: the problems that the doctor names. refolded:
    the sessions after all rows were folded again.
    """

    events: list[Event]
    sessions: dict[str, Session]
    refolded: dict[str, Session]
    broken: str
    findings: list[str]


class _Payload(msgspec.Struct):
    token_handle: str = ""
    record: dict[str, object] = {}


def observe(store: SessionStore) -> Image:
    """Read everything, by each way that there is."""
    sessions = _sessions(store)
    verified = store.verify()
    findings = [
        f"{found.code}: {found.subject}: {found.problem}"
        for found in store.diagnose()
        if found.severity == "problem"
    ]
    events = [Event(e.id, e.kind, handle_in(e.payload)) for e in store.events()]
    store.rebuild()
    broken = f"event {verified.broken.id}: {verified.broken.problem}" if verified.broken else ""
    return Image(events, sessions, _sessions(store), broken, findings)


def handle_in(payload: bytes) -> str:
    """The handle that an event names; empty if it names none."""
    try:
        read = msgspec.json.decode(payload, type=_Payload)
    except msgspec.MsgspecError:
        return ""
    return read.token_handle or str(read.record.get("token_handle", ""))


def _sessions(store: SessionStore) -> dict[str, Session]:
    return {one.handle: one for one in store.sessions(live=False, superseded=True)}
