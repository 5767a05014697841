"""History: what happened, told from the events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sessionledger import HistoryEntry, StoredEvent
from sessionledger.core.codec import encode_event
from sessionledger.core.events import Created, Expired, SessionEvent, Touched
from sessionledger.core.history import entries_of
from tests.strategies import HANDLE, START

HOUR = timedelta(hours=1)
AT_MS = 1_777_723_200_000
CREATED = Created(b'{"n":1}', START, START + HOUR, START, "alice", HANDLE)


def stored(id: int, event: SessionEvent, headers: dict[str, str] | None = None) -> StoredEvent:
    kind, payload = encode_event(event)
    return StoredEvent(id, kind, payload, headers or {}, AT_MS)


def told(*events: StoredEvent) -> list[HistoryEntry]:
    return entries_of(HANDLE, events)[0]


def test_nothing_happened() -> None:
    assert told() == []


def test_a_creation_changes_everything_it_sets() -> None:
    (entry,) = told(stored(4, CREATED))
    assert entry == HistoryEntry(
        event_id=4,
        handle=HANDLE,
        principal="alice",
        kind="session_created",
        occurred_at=START,
        cause=None,
        reason=None,
        actor=None,
        context={},
        changes={
            "principal": "alice",
            "created_at": START,
            "last_seen_at": START,
            "expires_at": START + HOUR,
            "attributes": {"n": 1},
        },
    )


def test_who_why_and_whence() -> None:
    headers = {
        "sessionledger.reason": "stolen",
        "sessionledger.actor": "root",
        "sessionledger.context.device": "phone",
        "harn.provenance.schema": "not ours to tell",
    }
    (entry,) = told(stored(1, CREATED, headers))
    assert (entry.reason, entry.actor, entry.context) == ("stolen", "root", {"device": "phone"})


def test_only_what_differs_is_told() -> None:
    touched = Touched(None, None, START + timedelta(minutes=1), HANDLE)
    entries = told(stored(1, CREATED), stored(2, touched), stored(3, touched))
    assert entries[1].changes == {"last_seen_at": START + timedelta(minutes=1)}
    assert entries[2].changes == {}


def test_an_ending_tells_when() -> None:
    entries = told(stored(1, CREATED), stored(5, Expired(START, HANDLE)))
    assert entries[1].changes == {"expires_at": START, "ended_at": START}


def test_an_unreadable_event_is_told_as_that() -> None:
    payload = b'{"token_handle":"%b"}' % HANDLE.encode()
    damaged = StoredEvent(2, "session_touched", payload, {}, AT_MS)
    entries = told(stored(1, CREATED), damaged)
    assert [entry.readable for entry in entries] == [True, False]
    assert entries[1].changes == {"expires_at": START, "ended_at": START}


def test_a_time_beyond_the_calendar_is_told_as_its_end() -> None:
    kind, payload = encode_event(CREATED)
    (entry,) = told(StoredEvent(1, kind, payload, {}, 10**18))
    assert entry.occurred_at == datetime.max.replace(tzinfo=UTC)
