"""A service in a process of its own, on a ledger in a folder, and a client of it with a socket."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import Queue
from random import SystemRandom
from typing import Any

import httpx

from tests.cli.running import Line

COMMAND = [sys.executable, "-m", "sessionledger.cli"]
PATIENCE_SECONDS = 30
ALL_SCOPES = (
    *("sessions:create", "sessions:rotate", "sessions:read", "sessions:write"),
    *("sessions:revoke", "introspect", "events:read", "webhooks:read", "webhooks:write"),
)


# Linux gives outgoing connections the ports above these. A test's seed is not to choose among them.
_PORTS = range(10_000, 32_768)
_RANDOM = SystemRandom()


def environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith("SESSIONLEDGER_")}


def free_port() -> int:
    """A port that nobody had just now, at any address, and that no outgoing connection gets."""
    while True:
        with suppress(OSError), socket.create_server(("", _RANDOM.choice(_PORTS))) as probe:
            return int(probe.getsockname()[1])


def command(folder: Path, *arguments: str, given: str = "") -> str:
    """What a command of ours prints."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        cwd=folder,
        env=environment(),
        input=given,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def make_key(folder: Path, name: str, *scopes: str, ledger: str | None = None) -> str:
    options = [part for scope in scopes or ALL_SCOPES for part in ("--scope", scope)]
    options += [] if ledger is None else ["--ledger", ledger]
    made = Line(folder)("keys", "create", name, *options)
    assert made.code == 0, made.err
    return made.out.strip()


class Served:
    """A running service. Its lines on stderr are kept, the first without which it is not up."""

    def __init__(self, folder: Path, *options: str, port: int = 0, by: Sequence[str] = ()) -> None:
        """by: the program that starts it, with its arguments."""
        self.process = subprocess.Popen(
            [*by, *COMMAND, "serve", "--port", str(port), *options],
            cwd=folder,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        self._lines: Queue[str] = Queue()
        self.told: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        try:
            first = self.line()
            assert first.startswith("serving at "), first
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        self.url = first.removeprefix("serving at ")
        self.client = httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS)

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._lines.put(line.rstrip("\n"))

    def line(self) -> str:
        """The next line on stderr."""
        line = self._lines.get(timeout=PATIENCE_SECONDS)
        self.told.append(line)
        return line

    @property
    def address(self) -> tuple[str, int]:
        url = httpx.URL(self.url)
        assert url.port is not None
        return url.host, url.port

    def call(self, method: str, path: str, token: str = "", **told: Any) -> httpx.Response:
        headers = dict(told.pop("headers", {}))
        if token:
            headers["Authorization"] = f"Bearer {token}"
        return self.client.request(method, path, headers=headers, **told)

    def create(self, key: str, principal: str = "alice", **told: Any) -> dict[str, Any]:
        answer = self.call("POST", "/v1/sessions", key, json={"principal": principal, **told})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop, and answer its exit code."""
        self.client.close()
        self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        code = self.process.wait(PATIENCE_SECONDS)
        self._reader.join(PATIENCE_SECONDS)
        assert self.process.stderr
        self.process.stderr.close()
        return code

    def rest(self) -> list[str]:
        """What it had still told, once it has ended."""
        while not self._lines.empty():
            self.told.append(self._lines.get())
        return self.told

    def requests(self) -> list[dict[str, Any]]:
        """The access log."""
        return [json.loads(line) for line in self.told if line.startswith("{")]

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        if self.process.poll() is None:
            self.process.kill()
        self.ended()
