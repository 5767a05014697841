"""A request that timed out may have been carried out or not. The same request settles it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionledger import SessionStore
from sessionledger.testing.fixtures import until
from tests.server.served import ALL_SCOPES, Served, make_key
from tests.store.test_unknown_outcomes import held

pytestmark = pytest.mark.middle

OPTIONS = ("--request-timeout", "1s", "--no-access-log", "--writes-per-minute", "10000")


@pytest.fixture(params=["sqlite", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    names = {"sqlite": f"sqlite:///{tmp_path}/sessions.db", "file": f"file://{tmp_path}/sessions"}
    return names[request.param]


@pytest.fixture
def served(url: str, tmp_path: Path) -> Iterator[Served]:
    with Served(tmp_path, "--ledger", url, *OPTIONS) as served:
        yield served


@pytest.fixture
def key(url: str, tmp_path: Path) -> str:
    scopes = (*ALL_SCOPES, "sessions:revoke_everybody")
    return make_key(tmp_path, "root", *scopes, ledger=url)


def timed_out(served: Served, url: str, key: str, method: str, path: str, **told: Any) -> None:
    """Send it while somebody else writes, and let that one go on afterwards."""
    with held(url) as release:
        answer = served.call(method, path, key, **told)
        assert (answer.status_code, answer.json()["code"]) == (503, "timed_out")
        assert "unknown" in answer.json()["detail"]
        assert "send the request again" in answer.json()["detail"]
        release()


ENDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "one": ("DELETE", "/v1/sessions/{handle}", {}),
    "principal": ("DELETE", "/v1/sessions?principal=alice", {}),
    "where": ("POST", "/v1/revocations", {"json": {"principals": ["alice"]}}),
    "everybody": ("DELETE", "/v1/all-sessions", {}),
}


@pytest.mark.parametrize(("method", "path", "told"), ENDS.values(), ids=ENDS)
def test_an_end_that_timed_out_holds_once_the_same_request_is_answered(
    served: Served, url: str, key: str, method: str, path: str, told: dict[str, Any]
) -> None:
    made = served.create(key)
    path = path.format(handle=made["handle"])
    timed_out(served, url, key, method, path, **told)
    answer = served.call(method, path, key, **told)
    assert answer.status_code == 200
    assert served.call("GET", "/v1/session", made["token"]).status_code == 401
    with SessionStore.open(url) as store:
        store.sweep()
        assert store.count() == 0
        assert [event.kind for event in store.events()].count("session_expired") == 1
        assert store.diagnose() == []


def test_a_log_out_that_timed_out_is_answered_as_done(served: Served, url: str, key: str) -> None:
    token = served.create(key)["token"]
    with held(url) as release:
        assert served.call("DELETE", "/v1/session", token).status_code == 503
        release()
    with SessionStore.open(url) as store:
        until(lambda: store.get(token) is None)
    assert served.call("DELETE", "/v1/session", token).status_code in (204, 401)
    assert served.call("GET", "/v1/session", token).status_code == 401


def test_a_create_that_timed_out_is_made_once(served: Served, url: str, key: str) -> None:
    served.create(key, "bob")
    headers = {"Idempotency-Key": "order-7"}
    told: dict[str, Any] = {"json": {"principal": "alice"}, "headers": headers}
    timed_out(served, url, key, "POST", "/v1/sessions", **told)
    # It goes on without its request, so the record is soon that of a session.
    until(lambda: served.call("POST", "/v1/sessions", key, **told).status_code == 201)
    token = served.call("POST", "/v1/sessions", key, **told).json()["token"]
    assert served.call("GET", "/v1/session", token).json()["principal"] == "alice"
    with SessionStore.open(url) as store:
        assert store.count(principal="alice") == 1


def test_a_rotation_that_timed_out_answers_another_token(
    served: Served, url: str, key: str
) -> None:
    token = served.create(key)["token"]
    with held(url) as release:
        answer = served.call("POST", "/v1/session/rotate", token)
        assert (answer.status_code, answer.json()["code"]) == (503, "timed_out")
        release()
    rotated = served.call("POST", "/v1/session/rotate", token)
    assert rotated.status_code == 200
    assert served.call("GET", "/v1/session", rotated.json()["token"]).status_code == 200
    with SessionStore.open(url) as store:
        assert store.count() == 1
