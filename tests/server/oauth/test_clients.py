"""Clients of others: Authlib's OAuth 2 client, and a client under load."""

from __future__ import annotations

import threading
from pathlib import Path

import httpx
import pytest
from authlib.integrations.requests_client import OAuth2Session

from sessionledger import SessionStore
from sessionledger.testing.fixtures import until
from tests.server.served import PATIENCE_SECONDS, Served, make_key


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_introspects_and_revokes(served: Served, key: str, method: str) -> None:
    token = served.create(key, attributes={"scope": "read"})["token"]
    with OAuth2Session("root", key, token_endpoint_auth_method=method) as client:
        told = client.introspect_token(f"{served.url}/introspect", token=token).json()
        assert (told["active"], told["sub"], told["scope"]) == (True, "alice", "read")
        revoked = client.revoke_token(
            f"{served.url}/revoke", token=token, token_type_hint="access_token"
        )
        assert revoked.status_code == 200
        told = client.introspect_token(f"{served.url}/introspect", token=token).json()
    assert told == {"active": False}


@pytest.mark.middle
def test_what_was_acknowledged_is_there_after_a_kill(tmp_path: Path) -> None:
    """`kill -9` under load: every create and every revocation that was answered holds."""
    key = make_key(tmp_path, "root")
    created: list[str] = []
    revoked: list[str] = []
    with Served(tmp_path, "--no-access-log") as served:
        threads = [
            threading.Thread(target=_load, args=(served.url, key, created, revoked))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        until(lambda: len(revoked) >= 20)
        served.process.kill()
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    with SessionStore.open(f"sqlite:///{tmp_path}/sessions.db") as store:
        live = {session.handle for session in store.sessions()}
        known = {session.handle for session in store.sessions(state="all")}
        assert store.verify().ok
    assert set(created) <= known
    assert not set(revoked) & live


def _load(url: str, key: str, created: list[str], revoked: list[str]) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=PATIENCE_SECONDS) as client:
        try:
            while True:
                handle = client.post("/v1/sessions", json={"principal": "a"}).json()["handle"]
                created.append(handle)
                if client.delete(f"/v1/sessions/{handle}").status_code == 200:
                    revoked.append(handle)
        except httpx.TransportError:
            return
