"""Events of the sessions topic that can't be decoded: the reference refuses everything after one.

Each fails its own session closed, and no other.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from sessionledger import DuplicateSession, Log, SessionStore
from tests.parity.conftest import HANDLE, NOW, OTHER, TOKEN, append, record

MALFORMED = {
    "created without times": ("session_created", {"record": {"token_handle": HANDLE}}),
    "created at no time": ("session_created", record(created_at="yesterday")),
    "created with a list": ("session_created", record(attributes=[])),
    "touched without a time": ("session_touched", {"token_handle": HANDLE}),
    "touched at a number": ("session_touched", {"token_handle": HANDLE, "last_seen_at": 1}),
    "expired without a time": ("session_expired", {"token_handle": HANDLE}),
}


@pytest.mark.parametrize(("kind", "payload"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_event_closes_only_its_own_session(
    log: Log, store: SessionStore, kind: str, payload: Any
) -> None:
    store.create("alice", token=TOKEN)
    store.create("bob", token=OTHER)

    append(log, kind, payload)

    assert store.get(TOKEN) is None
    assert store.touch(TOKEN) is None
    with pytest.raises(DuplicateSession):
        store.create("alice", token=TOKEN)
    assert [entry.readable for entry in store.history(handle=HANDLE)] == [True, False]
    other = store.touch(OTHER)
    assert other is not None
    assert other.principal == "bob"
    assert store.create("carol").principal == "carol"


@pytest.mark.parametrize(("kind", "payload"), MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_event_comes_first(log: Log, kind: str, payload: Any) -> None:
    append(log, kind, payload)

    with SessionStore(log) as store:
        assert store.get(TOKEN) is None
        with pytest.raises(DuplicateSession):
            store.create("alice", token=TOKEN)
        assert store.create("bob", token=OTHER).principal == "bob"


@pytest.mark.parametrize("kind", ["session_created", "session_touched", "session_expired"])
@pytest.mark.parametrize("payload", [None, [], {}, {"token_handle": 1}, {"record": "x"}, "text"])
def test_a_malformed_event_without_a_handle_concerns_nobody(
    log: Log, store: SessionStore, kind: str, payload: Any
) -> None:
    store.create("alice", token=TOKEN)

    append(log, kind, payload)

    session = store.get(TOKEN)
    assert session is not None
    assert session.version == 1
    assert store.create("bob").version == 3


def test_a_malformed_event_does_not_move_an_end(log: Log, store: SessionStore) -> None:
    store.create("alice", token=TOKEN)
    ended = store.expire(TOKEN, expired_at=NOW + timedelta(hours=1))
    assert ended is not None

    append(log, "session_touched", {"token_handle": HANDLE})

    after = store.expire(TOKEN)
    assert after is not None
    assert (after.expires_at, after.ended_at) == (ended.expires_at, ended.ended_at)
