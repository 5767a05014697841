"""Back-channel logout in each framework: a route of a real server, and real requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sessionledger import SessionStore
from tests.integrations.apps.backchannel_apps import PATH
from tests.integrations.processes import ledger_in, served
from tests.web.backchannel import providing
from tests.web.backchannel.providing import WRONG, form, logout_token

FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
SERVERS = {
    "flask": ("gunicorn", "flask()"),
    "starlette": ("uvicorn", "starlette", "--factory"),
    "fastapi": ("uvicorn", "fastapi", "--factory"),
    "litestar": ("uvicorn", "litestar", "--factory"),
    "django": ("gunicorn", "django()"),
    "django on a loop": ("uvicorn", "django_on_a_loop", "--factory"),
}
SOME = (
    *("no token", "the algorithm none", "HMAC by the public key", "another key by the same name"),
    *("claims that were changed", "an extension", "a nonce", "another audience", "another issuer"),
    *("no events", "expired", "issued in the future", "nobody", "claims that are no text"),
)


@contextmanager
def running(framework: str, folder: Path) -> Iterator[httpx.Client]:
    (folder / "jwks.json").write_bytes(providing.jwks())
    told = {"issuer": providing.ISSUER, "audiences": [providing.CLIENT], "principal": "{sub}"}
    (folder / "p.json").write_text(json.dumps(told | {"jwks": str(folder / "jwks.json")}))
    server, app, *options = SERVERS[framework]
    module = "tests.integrations.apps.backchannel_apps"
    with served(server, f"{module}:{app}", folder, *options) as client:
        yield client


def send(client: httpx.Client, token: str) -> httpx.Response:
    answer = client.post(PATH, content=form(token), headers=FORM)
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    return answer


@pytest.mark.sampled
@pytest.mark.parametrize("framework", SERVERS)
def test_a_provider_logs_out_whom_it_names(framework: str, tmp_path: Path) -> None:
    with (
        running(framework, tmp_path) as client,
        SessionStore.open(ledger_in(tmp_path)) as store,
    ):
        alice, other = store.create("alice", external_id="s"), store.create("alice")
        bob = store.create("bob")
        for case in SOME:
            make, reason = WRONG[case]
            answer = send(client, make())
            told = {"error": "invalid_request", "error_description": reason}
            assert (answer.status_code, answer.json()) == (400, told), case
        assert store.count() == 3

        posted = {"data": {"logout_token": logout_token()}}
        assert client.get(PATH, params=posted["data"]).status_code in (400, 405)
        assert client.post(PATH, params=posted["data"]).status_code == 400
        assert client.post(PATH, json=posted["data"]).status_code == 400
        assert client.post(PATH, content=b"a=" + b"a" * 100_000, headers=FORM).status_code == 400
        assert store.count() == 3

        token = logout_token(sid="s")
        assert (answer := send(client, token)).status_code in (200, 204)
        assert answer.content == b""
        assert [one.handle for one in store.sessions(principal="alice")] == [other.handle]
        assert send(client, token).json()["error_description"] == "it was used before"
        assert send(client, logout_token()).status_code in (200, 204)
        assert store.get(alice.token) is store.get(other.token) is None
        assert store.get(bob.token) is not None


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("first", "second"),
    [("flask", "django"), ("starlette", "litestar"), ("fastapi", "flask")],
)
def test_a_token_is_good_once_for_all_processes(first: str, second: str, tmp_path: Path) -> None:
    """And for all frameworks on one ledger. A session that began since stays."""
    with (
        SessionStore.open(ledger_in(tmp_path)) as store,
        running(first, tmp_path) as one,
        running(second, tmp_path) as other,
    ):
        store.create("alice")
        token = logout_token()
        assert send(one, token).status_code == 200
        issued = store.create("alice")
        for client in (other, one):
            assert send(client, token).json()["error_description"] == "it was used before"
        assert store.get(issued.token) is not None


@pytest.mark.sampled
@pytest.mark.parametrize("framework", SERVERS)
def test_a_new_key_of_the_provider_is_taken_at_once(framework: str, tmp_path: Path) -> None:
    with (
        running(framework, tmp_path) as client,
        SessionStore.open(ledger_in(tmp_path)) as store,
    ):
        new = providing.key("new")
        token = providing.signed(told=providing.header(kid="new"), by=new)
        store.create("alice")
        assert send(client, token).status_code == 400
        (tmp_path / "jwks.json").write_bytes(providing.jwks(new))
        assert send(client, token).status_code == 200
        assert send(client, logout_token()).json()["error_description"] == providing.NO_KEY
        assert store.count() == 0
