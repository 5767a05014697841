"""Carrying out recorded commands on one of our stores, on one of our logs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from sessionledger import (
    Change,
    DuplicateSession,
    InvalidEvent,
    InvalidSession,
    IssuedSession,
    Log,
    LogError,
    LogEvent,
    Policy,
    Session,
    Unit,
    open_log,
)
from sessionledger.core.annotations import SALT
from sessionledger.core.events import CREATED
from sessionledger.core.instant import rfc3339
from sessionledger.core.token import digest, handle_of, parse_token
from sessionledger.logs.base import StoredEvent
from tests.parity.backends import AnyStore, Backend, Colour, Settle
from tests.parity.compare import Masks
from tests.parity.recorded import Object

_KINDS = {
    DuplicateSession: "Duplicate",
    InvalidSession: "Invalid",
    LogError: "Log",
    InvalidEvent: "Log",
}
_ALL = 1_000_000


class Replay:
    """The logs and stores of one sequence, by the names that it gives them."""

    def __init__(self, backend: Backend, colour: Colour, settle: Settle, root: Path) -> None:
        self.masks = Masks()
        self.root = root
        self._backend = backend
        self._colour = colour
        self._settle = settle
        self._logs: dict[str, Log] = {}
        self._stores: dict[str, tuple[str, AnyStore]] = {}
        self._operations: dict[str, Callable[[Object], Any]] = {
            "open": self._open,
            "close": self._close,
            "create": self._create,
            "get": self._get,
            "touch": self._touch,
            "expire": self._expire,
            "append_raw": self._append_raw,
            "events": self._events,
            "latest": self._latest,
            "handle": self._handle,
        }

    def answer(self, command: Object) -> Object:
        """What our store answers to a command, in the form of a recorded result."""
        try:
            return {"ok": self._operations[command["op"]](self.masks.fill(command))}
        except Exception as error:
            # The kind only: the texts are ours, and differ from the reference's on purpose.
            return {"err": {"kind": _kind(error)}}

    def attach(self, log_id: str, place: str, stores: Iterable[str]) -> Log:
        """The log at a place, opened if it is not yet, with stores put on it."""
        if log_id not in self._logs:
            self._logs[log_id] = open_log(self._backend.url(self.root / place))
        log = self._logs[log_id]
        for name in stores:
            self._stores[name] = (log_id, self._colour.store(log, policy=Policy.reference()))
        return log

    def close(self) -> None:
        """Close whatever is open."""
        for log_id in list(self._logs):
            self._close({"log_id": log_id})

    def _open(self, command: Object) -> None:
        self.attach(command["log_id"], Path(command["path"]).name, [command["store"]])

    def _close(self, command: Object) -> None:
        log_id = command["log_id"]
        for name, (held, store) in list(self._stores.items()):
            if held == log_id:
                self._settle(store.close())
                del self._stores[name]
        self._logs.pop(log_id).close()

    def _store(self, command: Object) -> AnyStore:
        return self._stores[command["store"]][1]

    def _create(self, command: Object) -> Object:
        issued = self._settle(
            self._store(command).create(
                command["principal"],
                token=command["id"],
                created_at=_instant(command["created_at"]),
                expires_at=_instant(command["expires_at"]),
                attributes=command["attributes"],
            )
        )
        if "as" in command:
            self._name(command["as"], issued)
        return _shown(issued, issued.token)

    def _name(self, name: str, issued: IssuedSession) -> None:
        self.masks.name(f"{name}:id", issued.token)
        self.masks.name(f"{name}:handle", issued.handle)
        self.masks.name(f"{name}:created_at", rfc3339(issued.created_at))

    def _get(self, command: Object) -> Object | None:
        store, now = self._store(command), _instant(command["now"])
        return _answered(self._settle(store.get(command["id"], now=now)), command)

    def _touch(self, command: Object) -> Object | None:
        touched = self._store(command).touch(
            command["id"],
            last_seen_at=_instant(command["last_seen_at"]),
            expires_at=_instant(command["expires_at"]),
            attributes=command["attributes"],
        )
        return _answered(self._settle(touched), command)

    def _expire(self, command: Object) -> Object | None:
        store, at = self._store(command), _instant(command["expired_at"])
        return _answered(self._settle(store.expire(command["id"], expired_at=at)), command)

    def _append_raw(self, command: Object) -> int:
        event = LogEvent.of(command["kind"], command["payload"])
        outcomes = self._logs[command["log_id"]].append(command["topic"], [Unit([Change(event)])])
        return outcomes[0].ids[0]  # type: ignore[union-attr]  # unconditional: no conflict

    def _events(self, command: Object) -> list[Object]:
        events = self._logs[command["log_id"]].read(command["topic"], limit=_ALL)
        return [_event(event) for event in events]

    def _latest(self, command: Object) -> int | None:
        return self._logs[command["log_id"]].latest(command["topic"]) or None

    def _handle(self, command: Object) -> str:
        return handle_of(digest(parse_token(command["id"], Policy.reference())))


def _kind(error: Exception) -> str:
    return next(
        (kind for known, kind in _KINDS.items() if isinstance(error, known)), type(error).__name__
    )


def _instant(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _answered(session: Session | None, command: Object) -> Object | None:
    return None if session is None else _shown(session, _trimmed(command["id"]))


def _trimmed(token: str) -> str:
    return parse_token(token, Policy.reference())


def _shown(session: Session, token: str) -> Object:
    return {
        "id": token,
        "principal": session.principal,
        "created_at": rfc3339(session.created_at),
        "last_seen_at": rfc3339(session.last_seen_at),
        "expires_at": rfc3339(session.expires_at),
        "attributes": session.attributes,
    }


def _event(event: StoredEvent) -> Object:
    return {
        "id": event.id,
        "kind": event.kind,
        "payload": _payload(event),
        "headers": {key: text for key, text in event.headers.items() if key != SALT},
        "occurred_at_ms": event.occurred_at_ms,
    }


def _payload(event: StoredEvent) -> Any:
    """The payload without our field that the reference never writes, and ignores."""
    payload = json.loads(event.payload)
    if event.kind == CREATED and isinstance(payload, dict):
        record = payload.get("record")
        if isinstance(record, dict):
            record.pop("generated", None)
    return payload
