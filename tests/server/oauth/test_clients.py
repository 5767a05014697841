"""Clients of others: Authlib's OAuth 2 client, and nginx in front of an upstream."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from authlib.integrations.requests_client import OAuth2Session  # type: ignore[import-untyped]

from sessionledger import SessionStore
from sessionledger.testing.fixtures import until
from tests.server.served import PATIENCE_SECONDS, Served, command, free_port, make_key
from tests.servers import program

EXAMPLES = Path(__file__).parents[3] / "examples" / "http"
NGINX = ("-p", ".", "-c", "nginx.conf", "-e", "stderr", "-g", "daemon off;")


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


@pytest.fixture
def guarded(served: Served, tmp_path: Path) -> Iterator[httpx.Client]:
    """nginx by the configuration of the examples, before the FastAPI application of theirs."""
    nginx = program("nginx")
    port, behind = free_port(), free_port()
    text = (EXAMPLES / "nginx.conf").read_text()
    for said, here in (
        ("127.0.0.1:8420", "{}:{}".format(*served.address)),
        ("127.0.0.1:9000", f"127.0.0.1:{behind}"),
        ("listen 8080", f"listen 127.0.0.1:{port}"),
    ):
        assert said in text
        text = text.replace(said, here)
    (tmp_path / "nginx.conf").write_text(text)
    application = [sys.executable, "-m", "uvicorn", "--port", str(behind), "behind_nginx:app"]
    with (
        running(application, EXAMPLES, behind),
        running([nginx, *NGINX], tmp_path, port),
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as client,
    ):
        yield client


@contextmanager
def running(command: list[str], folder: Path, port: int) -> Iterator[None]:
    """A server, once it listens."""
    process = subprocess.Popen(command, cwd=folder, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    def listens() -> bool:
        assert process.poll() is None, f"{process.args!r} did not start"
        with socket.socket() as connection:
            return connection.connect_ex(("127.0.0.1", port)) == 0

    until(listens)


def test_nginx_guards_an_upstream(
    guarded: httpx.Client, served: Served, folder: Path, key: str
) -> None:
    made = served.create(key, "alice é", attributes={"scope": "a b"})
    bearer = {"Authorization": f"Bearer {made['token']}"}
    forged = {"X-Auth-Principal": "root", "X-Auth-Scope": "admin"}

    assert guarded.get("/orders").status_code == 401
    told = guarded.get("/orders/1?x=y", headers=bearer | forged).json()
    assert told == {"principal": "alice é", "handle": made["handle"], "scopes": ["a", "b"]}
    assert guarded.post("/orders", headers=bearer, content=b"x" * 1000).status_code == 200
    cookie = {"Cookie": f"__Host-session={made['token']}"}
    assert guarded.get("/orders", headers=cookie).status_code == 200

    # By another process: the door is shut at the next request.
    command(folder, "revoke", "--handle", made["handle"])
    answer = guarded.get("/orders", headers=bearer | forged)
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_nginx_asks_for_a_scope(guarded: httpx.Client, served: Served, key: str) -> None:
    plain = served.create(key, "alice")
    admin = served.create(key, "root", attributes={"scope": ["admin"]})
    for made, status in ((plain, 403), (admin, 200)):
        bearer = {"Authorization": f"Bearer {made['token']}"}
        assert guarded.get("/admin/", headers=bearer).status_code == status


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
        known = {session.handle for session in store.sessions(live=False)}
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
