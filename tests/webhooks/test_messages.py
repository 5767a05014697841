from __future__ import annotations

import msgspec

from sessionledger import Change, LogEvent, SessionStore, Unit
from sessionledger.webhooks.messages import body_of, type_of

MAC = {"device": "a Mac"}


def test_an_event_is_told_by_type_and_session_and_without_attributes() -> None:
    with SessionStore.open("memory:") as store:
        issued = store.create("alice", attributes={"role": "a secret role"}, context=MAC)
        store.touch(issued.token, attributes={"role": "another"})
        store.revoke(handle=issued.handle, reason="lost it", actor="bob")
        created, touched, expired = list(store.history(handle=issued.handle))
    assert [type_of(one) for one in (created, touched, expired)] == [
        "session.created",
        "session.touched",
        "session.expired",
    ]
    body = body_of(expired)
    told = msgspec.json.decode(body)
    assert told["type"] == "session.expired"
    assert msgspec.json.decode(msgspec.json.encode(told["timestamp"]), type=object)
    assert told["data"] == {
        "event_id": 3,
        "kind": "session_expired",
        "handle": issued.handle,
        "principal": "alice",
        "cause": "revoked",
        "reason": "lost it",
        "actor": "bob",
        "context": {},
        "changed": ["ended_at", "expires_at"],
        "readable": True,
    }
    bodies = body + body_of(created) + body_of(touched)
    assert b"role" not in bodies
    assert b"another" not in bodies
    assert issued.token.encode() not in bodies
    assert msgspec.json.decode(body_of(created))["data"]["context"] == MAC


def test_a_damaged_event_ended_its_session() -> None:
    with SessionStore.open("memory:") as store:
        handle = store.create("alice").handle
        payload = f'{{"token_handle":"{handle}","last_seen_at":7}}'.encode()
        damaged = LogEvent("session_touched", payload, {}, 0)
        store._log.append("orchestrator.sessions", [Unit([Change(damaged)])])
        _, entry = list(store.history(handle=handle))
    assert type_of(entry) == "session.expired"
    assert msgspec.json.decode(body_of(entry))["data"]["readable"] is False
