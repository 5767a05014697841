"""Documents have the names and values that the command line and webhooks have."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from sessionledger import HistoryEntry, Policy, SessionStore
from sessionledger.cli.output import records
from sessionledger.cli.output.formatting import json_line
from sessionledger.server.http import history_schemas, schemas
from sessionledger.webhooks.messages import body_of


@pytest.fixture
def store() -> SessionStore:
    return SessionStore.open("memory:", policy=Policy(idle_timeout=timedelta(minutes=30)))


def entry(store: SessionStore) -> HistoryEntry:
    issued = store.create("alice", context={"address": "192.0.2.1"})
    return next(iter(store.history(handle=issued.handle)))


def test_a_session_reads_the_same_on_the_command_line_and_over_http(store: SessionStore) -> None:
    found = store.find(handle=store.create("alice").handle)
    assert found is not None
    printed = json_line(records.session_record(found, datetime.now(UTC)))
    answered = msgspec.json.encode(schemas.session_document(found))
    assert json.loads(printed) == json.loads(answered)


def test_an_event_reads_the_same_on_the_command_line_and_over_http(store: SessionStore) -> None:
    told = entry(store)
    answered = msgspec.json.encode(history_schemas.entry_document(told))
    assert json.loads(json_line(records.entry_record(told))) == json.loads(answered)


def test_a_webhook_has_the_names_and_values_of_the_event(store: SessionStore) -> None:
    told = entry(store)
    message = json.loads(body_of(told))
    answered = json.loads(msgspec.json.encode(history_schemas.entry_document(told)))
    assert message["timestamp"] == answered["occurred_at"]
    assert message["data"].pop("changed") == sorted(answered["changes"])
    assert message["data"].items() <= answered.items()
