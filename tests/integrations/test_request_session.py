"""What a request does with its session, and what it then sees of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import apsw
import pytest

from sessionledger import (
    ANONYMOUS,
    InvalidSession,
    LogUnavailable,
    SessionStore,
    VersionConflict,
)
from sessionledger.integrations import Request, Requirements, Settings
from sessionledger.integrations.sync import SyncRequestSession
from sessionledger.testing import Clock
from sessionledger.web.challenges import Denied

HOUR = timedelta(hours=1)
OWN = [(b"sec-fetch-site", b"same-origin"), (b"host", b"app.test")]


class Refused(Exception):
    def __init__(self, denied: Denied) -> None:
        self.denied = denied


@pytest.fixture
def store() -> Iterator[SessionStore]:
    with SessionStore.open("memory:", clock=Clock()) as store:
        yield store


def request(
    store: SessionStore, *, cookie: str | None = None, bearer: str | None = None
) -> SyncRequestSession:
    headers = [*OWN]
    if cookie is not None:
        headers.append((b"cookie", f"__Host-session={cookie}".encode()))
    if bearer is not None:
        headers.append((b"authorization", f"Bearer {bearer}".encode()))
    return SyncRequestSession(store, Request("POST", headers, None, "https"), Settings(), Refused)


def test_while_the_ledger_is_away_it_answers_503(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with SessionStore.open(f"sqlite:///{path}", timeout=timedelta(milliseconds=50)) as store:
        token = store.create("alice").token
        other = apsw.Connection(str(path))
        other.execute("BEGIN IMMEDIATE")
        asking = request(store, cookie=token)
        refuses_with_503(asking)
        other.execute("ROLLBACK")
        other.close()
        assert asking.log_in("bob").principal == "bob"


def refuses_with_503(asking: SyncRequestSession) -> None:
    calls: list[Callable[[], object]] = [
        lambda: asking.log_in("bob"),
        lambda: asking.patch({"a": 1}),
        asking.rotate,
        asking.log_out,
    ]
    for call in calls:
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.denied.status == 503
        assert caught.value.denied.headers["Retry-After"] == "1"
        assert isinstance(caught.value.__cause__, LogUnavailable)


def test_the_request_sees_what_it_patched(store: SessionStore) -> None:
    token = store.create("alice", attributes={"a": 1}).token
    asking = request(store, cookie=token)
    assert asking.required().attributes == {"a": 1}
    patched = asking.patch({"b": 2}, reason="chosen")
    assert asking.session() == asking.required() == patched == store.get(token)
    assert patched.attributes == {"a": 1, "b": 2}
    assert asking.in_place.set_cookie is None
    last = list(store.history(handle=patched.handle))[-1]
    assert (last.actor, last.reason) == ("alice", "chosen")
    with pytest.raises(VersionConflict):
        asking.patch({"b": 3}, if_version=1)
    assert asking.required().attributes == {"a": 1, "b": 2}


def test_a_patch_with_an_end_sends_the_cookie_again_and_is_one_event(store: SessionStore) -> None:
    token = store.create("alice", ttl=HOUR).token
    asking = request(store, cookie=token)
    asking.patch({"a": 1}, ttl=3 * HOUR)
    assert store.head().id == 2
    assert asking.in_place.set_cookie is not None
    assert f"={token}; Max-Age=10800;" in asking.in_place.set_cookie
    bearing = request(store, bearer=token)
    bearing.patch({"a": 2}, ttl=HOUR)
    assert bearing.in_place.set_cookie is None


def test_a_replaced_cookie_is_not_sent_again(store: SessionStore) -> None:
    token = store.create("alice", ttl=HOUR).token
    successor = store.rotate(token)
    assert successor is not None
    asking = request(store, cookie=token)
    asking.patch({"a": 1}, ttl=3 * HOUR)
    assert asking.in_place.set_cookie is None
    found = store.get(successor.token)
    assert found is not None
    assert found.attributes == {"a": 1}


def test_a_patch_that_ends_the_session_leaves_nobody(store: SessionStore) -> None:
    token = store.create("alice").token
    asking = request(store, cookie=token)
    assert asking.patch({}, ttl=timedelta(0)).ended_at is not None
    assert asking.session() is None
    assert asking.in_place.set_cookie is not None
    assert "Max-Age=0" in asking.in_place.set_cookie
    with pytest.raises(Refused):
        asking.patch({"a": 1})


def test_an_anonymous_session_is_patched_and_no_log_in(store: SessionStore) -> None:
    asking = request(store)
    issued = asking.begin_anonymous(attributes={"basket": []}, ttl=HOUR)
    assert asking.in_place.set_cookie is not None
    assert issued.is_anonymous
    again = request(store, cookie=issued.token)
    assert again.patch({"basket": ["tea"]}).attributes == {"basket": ["tea"]}
    for call in (again.required, again.change_credentials):
        with pytest.raises(Refused) as caught:
            call()
        assert (caught.value.denied.status, caught.value.denied.code) == (401, "unauthorized")
    assert again.required(Requirements(anonymous=True)) == again.session()


def test_a_log_in_takes_one_step_with_its_changes(store: SessionStore) -> None:
    visitor = store.create(ANONYMOUS, attributes={"basket": ["tea"], "role": "admin"})
    asking = request(store, cookie=visitor.token)
    issued = asking.rotate(principal="alice", changes={"role": None, "theme": "dark"})
    assert issued.attributes == {"basket": ["tea"], "theme": "dark"}
    assert asking.required() == issued == store.get(issued.token)
    assert not issued.is_anonymous
    assert store.head().id == 3
    assert store.get(visitor.token) is None
    with pytest.raises(InvalidSession):
        request(store, cookie=issued.token).rotate(principal=ANONYMOUS)
