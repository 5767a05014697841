"""The examples of the service run: `make run`, the shell client, the browser app."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.served import PATIENCE_SECONDS, Served, environment, free_port

EXAMPLES = Path(__file__).parents[2] / "examples" / "http"


@pytest.fixture(scope="module")
def header(folder: Path, key: str) -> Path:
    """The file with the header that an admin sends."""
    file = folder / "admin.key"
    file.write_text(f"Authorization: Bearer {key}\n")
    return file


def run_once(folder: Path) -> tuple[list[str], list[str]]:
    """What `make run` prints, and what its curl lines answer."""
    process = subprocess.Popen(
        [sys.executable, str(EXAMPLES / "serve.py")],
        cwd=folder,
        env=environment() | {"SESSIONLEDGER_PORT": str(free_port())},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stderr
    try:
        assert "serving at" in process.stderr.readline()
        # The rest goes nowhere, so that the log does not fill the pipe.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        printed: list[str] = []
        while not printed or "DELETE" not in printed[-1]:
            printed.append(process.stdout.readline())
        lines = [line.strip() for line in printed if line.startswith("  curl ")]
        answers = [
            subprocess.run(
                ["bash", "-c", line], capture_output=True, text=True, check=True, timeout=30
            ).stdout
            for line in lines
        ]
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
        process.stdout.close()
        process.stderr.close()
    return printed, answers


@pytest.mark.middle
def test_make_run_serves_and_its_lines_work_as_they_stand(tmp_path: Path) -> None:
    printed, (made, listed, ended) = run_once(tmp_path)
    key = (tmp_path / "ledger" / "admin.key").read_text().split()[-1]
    assert any(key in line for line in printed), "a new key is shown"
    assert '"token":"harn_sess_' in made
    assert '"principal":"you"' in listed
    assert ended == '{"ended":1}'
    assert (tmp_path / "ledger" / "admin.key").stat().st_mode & 0o077 == 0
    printed, (_, _, ended) = run_once(tmp_path)
    assert not any(key in line for line in printed), "this once"
    assert ended == '{"ended":1}'


def test_make_run_with_the_port_taken_says_so_and_makes_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, str(EXAMPLES / "serve.py")],
            cwd=tmp_path,
            env=environment() | {"SESSIONLEDGER_PORT": port},
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS,
        )
    assert (done.returncode, done.stdout) == (1, "")
    first, advice = done.stderr.splitlines()
    assert first == f"can't listen at 127.0.0.1:{port}: Address already in use"
    assert "SESSIONLEDGER_PORT=8421 make run" in advice
    assert list(tmp_path.iterdir()) == []


def test_the_shell_client_gets_a_session_and_gives_it_back(served: Served, header: Path) -> None:
    done = subprocess.run(
        ["bash", str(EXAMPLES / "client.sh")],
        env=os.environ | {"SERVICE": served.url, "KEY_HEADER": str(header)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["begun for nightly-job", "live", "401", "invalid_token"]


class Browser:
    """Keeps cookies, and asks the application in this process."""

    def __init__(self, app: Any) -> None:
        self._runner = asyncio.Runner()
        transport = httpx.ASGITransport(app=app)
        self._client = httpx.AsyncClient(transport=transport, base_url="https://app.test")
        self.cookies = self._client.cookies

    def __call__(self, method: str, path: str, **told: Any) -> httpx.Response:
        return self._runner.run(self._client.request(method, path, **told))

    def close(self) -> None:
        self._runner.run(self._client.aclose())
        self._runner.close()


@pytest.fixture
def browser(served: Served, header: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Browser]:
    monkeypatch.setenv("SERVICE", served.url)
    monkeypatch.setenv("KEY_HEADER", str(header))
    specification = importlib.util.spec_from_file_location(
        "browser_app", EXAMPLES / "browser_app.py"
    )
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "browser_app", module)
    specification.loader.exec_module(module)
    browser = Browser(module.app)
    yield browser
    browser.close()


OWN = {"Origin": "https://app.test"}


def log_in(browser: Browser, headers: dict[str, str] = OWN) -> Any:
    form = {"name": "alice", "password": "correct horse"}
    return browser("POST", "/login", json=form, headers=headers)


def test_a_browser_logs_in_and_out(browser: Browser) -> None:
    assert browser("GET", "/").status_code == 401
    answer = log_in(browser)
    assert answer.status_code == 200
    said = answer.headers["set-cookie"]
    assert said.startswith("__Host-session=harn_sess_")
    for part in ("HttpOnly", "Secure", "SameSite=lax", "Path=/"):
        assert part in said
    assert "Domain" not in said
    assert browser("GET", "/").json() == "hello, alice"
    token = browser.cookies["__Host-session"]
    assert browser("POST", "/logout", headers=OWN).json() == "goodbye, alice"
    browser.cookies.set("__Host-session", token)
    assert browser("GET", "/").status_code == 401, "the token is no good any more"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://app.test"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_sites_change_nothing(browser: Browser, headers: dict[str, str]) -> None:
    log_in(browser)
    assert browser("POST", "/logout", headers=headers).status_code == 403
    assert browser("GET", "/").status_code == 200


def test_a_wrong_password_begins_nothing(browser: Browser) -> None:
    answer = browser("POST", "/login", json={"name": "a", "password": "x"}, headers=OWN)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
