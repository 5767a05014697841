"""A real Redis on a free loopback port, where one is installed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from typing import Any

import msgspec
import redis

from benchmarks.bare import DOMAIN
from sessionledger import Session

_decode = msgspec.json.Decoder(Session).decode


class RedisSessions:
    """Sessions as JSON under the hash of their token: hash, one GET, decode."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.client: Any = redis.Redis(port=port)

    def get(self, token: str) -> Session:
        return _decode(self.client.get(sha256(DOMAIN + token.encode()).digest()))

    def fill(self, sessions: Sequence[tuple[str, Session]]) -> None:
        pipeline = self.client.pipeline(transaction=False)
        for token, session in sessions:
            key = sha256(DOMAIN + token.encode()).digest()
            pipeline.set(key, msgspec.json.encode(session))
        pipeline.execute()


@contextmanager
def running_redis(sessions: Sequence[tuple[str, Session]]) -> Iterator[RedisSessions | None]:
    """Redis filled with the sessions; None where `redis-server` is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        _until_ready(server)
        peer = RedisSessions(port)
        peer.fill(sessions)
        yield peer
        peer.client.close()
    finally:
        server.terminate()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()


def _until_ready(server: subprocess.Popen[str]) -> None:
    assert server.stdout is not None
    for line in server.stdout:
        if "Ready to accept connections" in line:
            return
    raise RuntimeError("redis-server ended before it was ready")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
