"""A console in a process of its own, and browsers of it that do as they are told."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import httpx

from tests.server.served import COMMAND, PATIENCE_SECONDS, environment

OWN = {"Sec-Fetch-Site": "same-origin"}
_CSRF = re.compile(r'name="csrf" value="([0-9a-f]{64})"')


class Running:
    """`sessionledger console` on the ledger in a folder."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "console", "--console-address", "127.0.0.1:0", *options],
            cwd=folder,
            env=environment(),
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stderr is not None
        told = self.process.stderr.readline()
        assert told.startswith("console at "), told
        self.url = told.removeprefix("console at ").strip()

    def stop(self) -> str:
        """Stop it; what it told on stderr meanwhile."""
        self.process.terminate()
        _, told = self.process.communicate(timeout=PATIENCE_SECONDS)
        assert self.process.returncode == 0
        return told


class Visitor:
    """A browser without scripts: it keeps its cookie, and finds the secret of forms."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.cookie = ""

    def ask(
        self, method: str, path: str, headers: dict[str, str], form: dict[str, str] | None = None
    ) -> httpx.Response:
        with httpx.Client(base_url=self.url, timeout=PATIENCE_SECONDS, verify=False) as client:
            return client.request(method, path, headers=headers, data=form)

    def log_in(self, key: str, headers: dict[str, str] | None = None) -> httpx.Response:
        answer = self.ask("POST", "/login", OWN if headers is None else headers, {"key": key})
        for line in answer.headers.get_list("set-cookie"):
            self.cookie = line.partition(";")[0]
        return answer

    def get(self, path: str) -> httpx.Response:
        return self.ask("GET", path, {"Cookie": self.cookie})

    def csrf(self, path: str = "/") -> str:
        found = _CSRF.search(self.get(path).text)
        assert found is not None
        return found[1]

    def post(
        self, path: str, headers: dict[str, str] | None = None, /, **form: str
    ) -> httpx.Response:
        sent = {"Cookie": self.cookie} | (OWN if headers is None else headers)
        return self.ask("POST", path, sent, form)
