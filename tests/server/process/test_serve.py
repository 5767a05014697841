"""The service as a process: what it says, bounds on the wire, and how it stops."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
import tomllib
from collections.abc import Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement

from sessionledger import SessionStore
from sessionledger.server.process.serve import UVICORN_BELOW, UVICORN_FROM
from sessionledger.testing.fixtures import concurrently, until
from tests.server.served import COMMAND, PATIENCE_SECONDS, Served, environment, make_key

OPTIONS = ("--request-timeout", "1s", "--stop-timeout", "5s")


def spoken(served: Served, *sent: bytes) -> bytes:
    """All that comes back for bytes on a connection of their own, until it is closed."""
    with socket.create_connection(served.address, timeout=PATIENCE_SECONDS) as connection:
        for part in sent:
            connection.sendall(part)
        received = b""
        while part := connection.recv(65536):
            received += part
    return received


def test_it_listens_on_the_loopback_unless_told_otherwise(served: Served) -> None:
    assert served.address[0] == "127.0.0.1"
    assert served.call("GET", "/healthz").json() == {"status": "ok"}
    assert served.call("GET", "/readyz").status_code == 200


def test_a_head_may_be_so_large(served: Served) -> None:
    long = "a" * 70_000
    for answer in (
        served.call("GET", "/healthz", headers={"X-Long": long}),
        served.call("GET", f"/healthz?x={long[:60_000]}", headers={"X-Long": long[:10_000]}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (431, "headers_too_large")


def test_a_head_of_the_size_that_nginx_passes_on_is_taken(served: Served, key: str) -> None:
    """By default 32 KiB: `large_client_header_buffers 4 8k`."""
    token = served.create(key)["token"]
    cookies = {"Cookie": "; ".join(f"c{n}={'x' * 1000}" for n in range(32))}
    assert served.call("GET", "/auth", token, headers=cookies).status_code == 200
    assert served.call("POST", "/introspect", key, headers=cookies).status_code == 415


@pytest.mark.parametrize("pieces", [1, 3])
def test_headers_without_an_end_are_refused_once_they_are_too_large(
    served: Served, pieces: int
) -> None:
    piece = b"a" * (70_000 // pieces)
    answer = spoken(served, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", *[piece] * pieces)
    assert answer.startswith(b"HTTP/1.1 431 ")


def test_what_is_no_http_is_refused(served: Served) -> None:
    answer = spoken(served, b"this is not http\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


def beginning(path: str, kind: str, key: str) -> bytes:
    """A request whose body begins, and does not go on."""
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
    return (
        f"{head}Connection: close\r\nContent-Type: {kind}\r\nContent-Length: 50\r\n\r\n{{".encode()
    )


@pytest.fixture(scope="module")
def late(served: Served, key: str) -> dict[str, bytes]:
    """What they are told who don't go on; all of them let the service wait at the same time."""
    parts = {
        "nothing": [b""],
        "a method": [b"GET / HT"],
        "half a head": [b"GET /healthz HTTP/1.1\r\nHost: x\r\n"],
        "a second head": [b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /healthz HT"],
        "a body for nobody": [b"POST /auth HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n"],
        "a session": [beginning("/v1/sessions", "application/json", key)],
        "a form": [beginning("/revoke", "application/x-www-form-urlencoded", key)],
    }
    answers = concurrently(*[partial(spoken, served, *sent) for sent in parts.values()])
    return dict(zip(parts, answers, strict=True))


@pytest.mark.parametrize("what", ["nothing", "a method", "half a head"])
def test_a_head_has_to_arrive_in_time(late: dict[str, bytes], what: str) -> None:
    assert late[what].startswith(b"HTTP/1.1 408 ")


def test_a_second_head_has_to_arrive_in_time_too(late: dict[str, bytes]) -> None:
    answer = late["a second head"]
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 408 " in answer


def test_a_body_that_nobody_waits_for_is_not_answered_twice(late: dict[str, bytes]) -> None:
    answer = late["a body for nobody"]
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize("what", ["a session", "a form"])
def test_a_body_has_to_arrive_in_time(late: dict[str, bytes], what: str) -> None:
    assert late[what].startswith(b"HTTP/1.1 408 ")


def test_a_body_without_a_length_may_be_so_large(served: Served, key: str) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(40):
            yield b" " * 10_000

    json = {"Content-Type": "application/json"}
    answer = served.call("POST", "/v1/sessions", key, content=parts(), headers=json)
    assert answer.status_code == 413


@pytest.mark.parametrize("version", ["0.52.4", "0.55.0", "1.0.0rc1"])
def test_a_uvicorn_that_was_not_tested_is_refused(tmp_path: Path, version: str) -> None:
    """Its module is not even complete: nothing of it may be needed to say so."""
    (tmp_path / "uvicorn.py").write_text(f"""
__version__ = "{version}"
Config = Server = object
""")
    told = subprocess.run(
        [*COMMAND, "serve", "--port", "0"],
        cwd=tmp_path,
        env=environment() | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert told.returncode == 2
    assert f"uvicorn {version} is installed" in told.stderr
    assert "pip install 'uvicorn>=0.53,<0.55'" in told.stderr
    assert not (tmp_path / "sessions.db").exists()


def test_the_range_of_uvicorn_is_the_one_that_pip_is_told() -> None:
    extras = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    needed = map(Requirement, extras["server"])
    (range,) = (one.specifier for one in needed if one.name == "uvicorn")
    bounds = {".".join(map(str, UVICORN_FROM)), ".".join(map(str, UVICORN_BELOW))}
    assert {one.version for one in range} == bounds
    assert version("uvicorn") in range


def test_no_token_is_in_any_line_or_metric(served: Served, key: str) -> None:
    made = served.create(key)
    token, wrong = made["token"], "harn_sess_" + "Z" * 43
    served.call("GET", "/auth", token)
    served.call("GET", f"/auth/{token}?token={token}")
    served.call("GET", f"/v1/sessions/{token}", key)
    served.call("GET", f"/{token}?access_token={token}", wrong)
    served.call("GET", f"/v1/sessions?cursor={token}&principal={token}", key)
    served.call("POST", "/introspect", key, data={"token": token})
    served.call("POST", "/introspect", key, data={token: token, "token": wrong})
    metrics = served.call("GET", "/metrics").text
    described = served.call("GET", "/openapi.json").text
    while "/openapi.json" not in served.line():
        pass
    told = "\n".join(served.told)
    for secret in (token, wrong, key):
        assert secret not in told
        assert secret not in metrics
        assert secret not in described
    lines = served.requests()[-10:]
    routes = [line["route"] for line in lines]
    assert routes[:5] == ["/v1/sessions", "/auth", "/auth", "/v1/sessions/{handle}", "other"]
    assert [line.get("key") for line in lines][:2] == ["root", None]


def test_metrics_count_what_was_answered(served: Served, key: str) -> None:
    def count(part: str) -> int:
        lines = served.call("GET", "/metrics").text.splitlines()
        return next((int(line.split()[-1]) for line in lines if part in line), 0)

    parts = (
        'requests_total{route="/auth",status="200"}',
        'requests_total{route="/auth",status="401"}',
        'request_duration_seconds_count{route="/auth"}',
        'request_duration_seconds_bucket{route="/auth",le="+Inf"}',
    )
    before = [count(part) for part in parts]
    token = served.create(key)["token"]
    for good in (token, token, token, "harn_sess_" + "Z" * 43):
        served.call("GET", "/auth", good)
    assert [count(part) - had for part, had in zip(parts, before, strict=True)] == [3, 1, 4, 4]


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, pytest.param(signal.SIGINT, marks=pytest.mark.slow)]
)
def test_a_stop_loses_nothing_that_was_acknowledged(folder: Path, key: str, number: int) -> None:
    """Creates are under way all the time; whatever was answered 201 is there afterwards."""
    acknowledged: list[str] = []
    begun = threading.Barrier(5)
    with Served(folder, "--no-access-log") as served:

        def load() -> None:
            with httpx.Client(base_url=served.url, timeout=PATIENCE_SECONDS) as client:
                begun.wait(PATIENCE_SECONDS)
                try:
                    while True:
                        answer = client.post(
                            "/v1/sessions",
                            json={"principal": "load"},
                            headers={"Authorization": f"Bearer {key}"},
                        )
                        if answer.status_code == 201:
                            acknowledged.append(answer.json()["handle"])
                except httpx.TransportError:
                    return

        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        begun.wait(PATIENCE_SECONDS)
        until(lambda: len(acknowledged) >= 20)
        assert served.stop(number) == 0
        for thread in threads:
            thread.join(PATIENCE_SECONDS)
    with SessionStore.open(f"sqlite:///{folder}/sessions.db") as store:
        assert [handle for handle in acknowledged if store.find(handle=handle) is None] == []


def test_a_ledger_that_can_t_be_written_is_not_ready(tmp_path: Path) -> None:
    key = make_key(tmp_path, "root")
    with Served(tmp_path) as served:
        made = served.create(key)
        assert served.call("GET", "/readyz").status_code == 200
        holder = subprocess.Popen(
            [*_HOLDING, str(tmp_path / "sessions.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            assert holder.stdout
            assert holder.stdout.readline() == b"held\n"
            until(lambda: served.call("GET", "/readyz").status_code != 200)
            answer = served.call("GET", "/readyz")
            assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
            assert served.call("GET", "/auth", made["token"]).status_code == 200
        finally:
            holder.communicate(b"\n", timeout=PATIENCE_SECONDS)
        until(lambda: served.call("GET", "/readyz").status_code == 200)


_HOLD = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""
_HOLDING = [COMMAND[0], "-c", _HOLD]
