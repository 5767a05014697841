"""A process that uses a ledger while something else goes on: python -m benchmarks.bounded_client
write|read.

It reads the address of a ledger, the time and tokens as a line of JSON, and gets ready. Then it
measures from the next line to the one after. It answers microseconds as JSON: of each call, or of
each read.
"""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path
from typing import IO, cast

import msgspec

from sessionledger import SessionStore

READS = 100
"""Reads that are timed together."""
WARM = 50


class Asked(msgspec.Struct):
    """Which ledger, at which time, and the sessions to use."""

    url: str
    now: datetime
    tokens: list[str]


def measured(
    role: str,
    url: str,
    now: datetime,
    shares: Sequence[Sequence[str]],
    meanwhile: Callable[[], object],
) -> list[float]:
    """What clients measured while something went on, one for each share of the tokens."""
    command = [sys.executable, "-m", "benchmarks.bounded_client", role]
    folder, pipe = Path(__file__).parent.parent, subprocess.PIPE
    clients = [subprocess.Popen(command, stdin=pipe, stdout=pipe, cwd=folder) for _ in shares]
    try:
        for client, tokens in zip(clients, shares, strict=True):
            _tell(client, msgspec.json.encode(Asked(url, now, list(tokens))))
        for client in clients:
            assert _answer(client) == b"ready\n"
        for client in clients:
            _tell(client, b"start")
        meanwhile()
        for client in clients:
            _tell(client, b"stop")
        return [
            time for client in clients for time in msgspec.json.decode(_answer(client), type=list)
        ]
    finally:
        for client in clients:
            client.kill()
            client.communicate()


def _tell(client: subprocess.Popen[bytes], line: bytes) -> None:
    assert client.stdin is not None
    client.stdin.write(line + b"\n")
    client.stdin.flush()


def _answer(client: subprocess.Popen[bytes]) -> bytes:
    return cast(IO[bytes], client.stdout).readline()


def _write(store: SessionStore, tokens: Iterator[str]) -> float:
    """One durable touch."""
    token = next(tokens)
    start = time.perf_counter()
    assert store.touch(token) is not None
    return time.perf_counter() - start


def _read(store: SessionStore, tokens: Iterator[str]) -> float:
    few = list(islice(tokens, READS))
    start = time.perf_counter()
    for token in few:
        assert store.get(token) is not None
    return (time.perf_counter() - start) / READS


ROLES = {"write": _write, "read": _read}


def _serve(role: str) -> None:
    asked = msgspec.json.decode(sys.stdin.buffer.readline(), type=Asked)
    tokens, call, stopped = cycle(asked.tokens), ROLES[role], threading.Event()

    def wait() -> None:
        sys.stdin.buffer.readline()
        stopped.set()

    with SessionStore.open(asked.url, clock=lambda: asked.now) as store:
        for _ in range(WARM):
            call(store, tokens)
        print("ready", flush=True)
        sys.stdin.buffer.readline()
        threading.Thread(target=wait, daemon=True).start()
        times: list[float] = []
        while not stopped.is_set():
            times.append(call(store, tokens) * 1e6)
        print(msgspec.json.encode(times).decode(), flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
