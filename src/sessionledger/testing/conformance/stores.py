"""A store on the log: sessions begin, last and end on it."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest

from sessionledger.errors import DuplicateSession
from sessionledger.store.sync import SessionStore
from sessionledger.testing.clock import Clock
from sessionledger.testing.conformance.bases import Conformance
from sessionledger.testing.fixtures import Ledger, concurrently

TOKEN = "a token that is long enough to be one"  # noqa: S105  it opens nothing
RIVALS = 8


class StoreConformance(Conformance):
    """What the log is for."""

    def test_a_session_begins_lasts_and_ends(self, ledger: Ledger) -> None:
        clock = Clock()
        store = SessionStore(ledger.log, clock=clock)
        issued = store.create("alice", ttl=timedelta(hours=1), attributes={"role": "operator"})
        clock.advance(timedelta(minutes=1))
        touched = store.touch(issued.token, attributes={"role": "guest"})
        assert touched is not None
        assert touched.last_seen_at == clock.now
        assert store.get(issued.token) == touched
        assert [one.handle for one in store.sessions(principal="alice")] == [issued.handle]
        clock.advance(timedelta(hours=1))
        assert store.get(issued.token) is None
        assert store.count() == 0

    def test_a_revoked_session_stays_so(self, ledger: Ledger) -> None:
        store = SessionStore(ledger.log)
        issued = store.create("alice", token=TOKEN)
        assert store.revoke(handle=issued.handle, reason="lost") is not None
        assert store.get(TOKEN) is None
        assert store.touch(TOKEN) is None
        with pytest.raises(DuplicateSession):
            store.create("mallory", token=TOKEN)
        store.rebuild()
        assert store.get(TOKEN) is None

    def test_a_token_is_given_once(self, ledger: Ledger) -> None:
        store = SessionStore(ledger.log)

        def create(n: int) -> bool:
            try:
                return store.create(f"p{n}", token=TOKEN).principal == f"p{n}"
            except DuplicateSession:
                return False

        won = concurrently(*(partial(create, n) for n in range(RIVALS)))
        assert sum(won) == 1
        session = store.get(TOKEN)
        assert session is not None
        assert won[int(session.principal[1:])]

    def test_sessions_survive_reopening(self, persistent: Ledger) -> None:
        store = SessionStore(persistent.log)
        kept, ended = store.create("alice"), store.create("alice")
        store.expire(ended.token)
        again = SessionStore(persistent.reopen())
        assert again.get(kept.token) is not None
        assert again.get(ended.token) is None
