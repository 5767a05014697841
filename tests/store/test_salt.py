"""The hash of an event with personal data confirms no guess of it."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from msgspec.structs import replace

from sessionledger import LogEvent, SessionStore, open_log
from sessionledger.core.annotations import SALT, is_personal
from sessionledger.core.history import decoded
from sessionledger.logs import chain
from sessionledger.logs.base import Change, StoredEvent, Unit
from tests.store.conftest import TOKEN

DAY = timedelta(days=1)
GUESSES = ["bob", "carol", "alice"]


def guessed(event: StoredEvent) -> str | None:
    """The principal that an attacker finds, who has all of an event but it and the salt."""
    headers = {key: text for key, text in event.headers.items() if key != SALT}
    payload = msgspec.json.decode(event.payload)
    for guess in GUESSES:
        payload["record"]["principal"] = guess
        guessed = replace(
            event, payload=msgspec.json.encode(payload, order="sorted"), headers=headers
        )
        if chain.record_hash("orchestrator.sessions", guessed) == event.headers[chain.HASH_HEADER]:
            return guess
    return None


def test_no_guess_of_a_principal_is_confirmed() -> None:
    log = open_log("memory:")
    store = SessionStore(log)
    store.create("alice", token=TOKEN, ttl=DAY)
    salted = next(store.events())
    assert guessed(salted) is None

    headers = {key: text for key, text in chain.unchained(salted.headers).items() if key != SALT}
    unsalted = LogEvent(salted.kind, salted.payload, headers, salted.occurred_at_ms)
    log.append("orchestrator.sessions", [Unit([Change(unsalted)])])
    (event,) = store.events(after=salted.id)
    assert guessed(event) == "alice"


def test_every_event_with_personal_data_has_a_salt_of_its_own(store: SessionStore) -> None:
    context = {"ip": "192.0.2.1"}
    issued = store.create("alice", ttl=DAY, actor="bob", context=context)
    store.touch(issued.token)
    store.touch(issued.token, attributes={"a": 1}, context=context)
    store.patch(issued.token, {"b": 2})
    rotated = store.rotate(issued.token, grace=timedelta(0), context=context)
    assert rotated is not None
    store.create("alice", ttl=DAY, parent=rotated.token, external_id="job")
    store.revoke(handle=rotated.handle, reason="stolen")
    store.create("carol", ttl=DAY)
    store.create("dora", ttl=DAY)
    store.revoke_all("carol", reason="gone")
    store.revoke_where(principals=["dora"])
    store.revoke_everybody(actor="root")
    store.sweep()

    salts = []
    for event in store.events():
        happened = decoded(event)
        headers = {k: v for k, v in chain.unchained(event.headers).items() if k != SALT}
        headers.pop("sessionledger.unit", None)
        told = event.kind == "selection_revoked" or (
            happened is not None and is_personal(happened, headers)
        )
        assert (SALT in event.headers) == told, event.kind
        if told:
            salts.append(event.headers[SALT])
    assert len(salts) >= 8
    assert {len(salt) for salt in salts} == {22}
    assert len(set(salts)) == len(salts)
