"""A store on every kind of log, at a fixed time, and two tokens to give it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from sessionledger import Change, Log, LogEvent, SessionStore, Unit, open_log
from sessionledger.core.token import digest, handle_of
from sessionledger.store.engine import SESSIONS_TOPIC
from tests.parity.backends import BACKENDS

NOW = datetime(2026, 5, 2, 12, tzinfo=UTC)
TOKEN = "harn_sess_test_abcdefghijklmnopqrstuvwxyz0123456789"
OTHER = "harn_sess_test_other_klmnopqrstuvwxyz0123456789"
HANDLE = handle_of(digest(TOKEN))


@pytest.fixture(params=sorted(BACKENDS))
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    log = open_log(BACKENDS[request.param].url(tmp_path / "log"))
    yield log
    log.close()


@pytest.fixture
def store(log: Log) -> Iterator[SessionStore]:
    with SessionStore(log, clock=lambda: NOW) as store:
        yield store


def append(log: Log, kind: str, payload: Any) -> None:
    """An event appended by somebody else, not through a store."""
    log.append(SESSIONS_TOPIC, [Unit([Change(LogEvent.of(kind, payload))])])


def record(**changed: Any) -> dict[str, Any]:
    """The payload of a creation of the token's session, an hour long."""
    at, end = "2026-05-02T12:00:00Z", "2026-05-02T13:00:00Z"
    whole = {"principal": "alice", "created_at": at, "last_seen_at": at, "expires_at": end}
    return {"record": {"token_handle": HANDLE, **whole, **changed}}
