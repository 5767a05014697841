"""Real servers, each with two workers: what one does, the other knows at its next request."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sessionledger import SessionStore
from sessionledger.testing.fixtures import until
from tests.integrations.apps.workers import WORKER
from tests.integrations.processes import PATIENCE_SECONDS, ledger_in
from tests.integrations.site import COOKIE, OWN
from tests.server.served import free_port

APPS = "tests.integrations.apps.workers"
PATCHING = "from gevent import monkey\nmonkey.patch_all()\n"
GUNICORN = (
    *("gunicorn", "--log-level", "warning", "--no-control-socket", "--workers", "2"),
    *("--config", "{folder}/conf.py", "--bind", "127.0.0.1:{port}", APPS + ":{app}()"),
)
GRANIAN = (
    *("granian", "--log-level", "warning", "--workers", "2", "--factory", "--no-ws"),
    *("--host", "127.0.0.1", "--port", "{port}", APPS + ":{app}"),
)
NAMES = {
    "in_flask": "Flask",
    "in_django": "Django",
    "in_starlette": "Starlette",
    "in_fastapi": "FastAPI",
    "in_litestar": "Litestar",
    "in_django_on_loops": "Django (ASGI)",
}
ROOT = Path(__file__).parents[2]
WSGI = ("in_flask", "in_django")
ASGI = ("in_starlette", "in_fastapi", "in_litestar", "in_django_on_loops")
SERVERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gunicorn sync": (GUNICORN, WSGI),
    "gunicorn gthread": ((*GUNICORN, "--worker-class", "gthread", "--threads", "4"), WSGI),
    "gunicorn gevent": ((*GUNICORN, "--worker-class", "gevent"), WSGI),
    "gunicorn preload": ((*GUNICORN, "--preload"), WSGI),
    "gunicorn gevent preload": ((*GUNICORN, "--preload", "--worker-class", "gevent"), WSGI),
    "gunicorn patched preload": ((*GUNICORN, "--preload", "--worker-class", "gevent"), WSGI),
    "granian wsgi": ((*GRANIAN, "--interface", "wsgi", "--blocking-threads", "4"), WSGI),
    "gunicorn asgi": ((*GUNICORN, "--worker-class", "asgi"), ASGI),
    "gunicorn uvicorn": (
        (*GUNICORN, "--worker-class", "uvicorn.workers.UvicornWorker"),
        ASGI,
    ),
    "uvicorn": (
        (
            *("uvicorn", "--log-level", "warning", "--workers", "2", "--port", "{port}"),
            *("--factory", APPS + ":{app}"),
        ),
        ASGI,
    ),
    "granian asgi": ((*GRANIAN, "--interface", "asgi"), ASGI),
    "hypercorn": (
        (
            *("hypercorn", "--log-level", "warning", "--workers", "2"),
            *("--bind", "127.0.0.1:{port}", APPS + ":{app}()"),
        ),
        ASGI,
    ),
}
QUICK = {("gunicorn gevent", "in_flask"), ("uvicorn", "in_litestar")}
CLIENTS = 6
ENOUGH = 40


def cases() -> Iterator[object]:
    """Every server with every framework; one of each colour is for the middle tier."""
    for server, (_, apps) in SERVERS.items():
        for app in apps:
            is_quick = (server, app) in QUICK
            marks = pytest.mark.middle if is_quick else pytest.mark.slow
            yield pytest.param(server, app, id=f"{server}-{app}", marks=marks)


class Served:
    """An application that a server runs with two workers."""

    def __init__(self, server: str, app: str, folder: Path) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        (folder / "conf.py").write_text(PATCHING if "patched" in server else "")
        command, _ = SERVERS[server]
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-W", "ignore", "-m"),
                *(part.format(folder=folder, port=port, app=app) for part in command),
            ],
            env=os.environ | {"LEDGER": ledger_in(folder)},
            stderr=subprocess.PIPE,
            text=True,
        )
        self._stops = iter([True])
        until(self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, self.process.communicate()
        try:
            return self.ask("GET", "/open").status_code == 200
        except httpx.TransportError:
            return False

    def ask(self, method: str, path: str, token: str | None = None) -> httpx.Response:
        """One request by a connection of its own, so that any worker may take it."""
        headers = OWN | {"Connection": "close"}
        headers |= {} if token is None else {"Cookie": f"{COOKIE}={token}"}
        return httpx.request(method, self.url + path, headers=headers, timeout=PATIENCE_SECONDS)

    def of_both(self, path: str, token: str) -> set[tuple[int, str]]:
        """What both workers answer: all answers, until there are some of each."""
        workers: set[str] = set()
        answers: set[tuple[int, str]] = set()

        def are_both() -> bool:
            for answer in threads.map(lambda _: self.ask("GET", path, token), range(CLIENTS)):
                workers.add(answer.headers[WORKER])
                answers.add((answer.status_code, answer.text if answer.is_success else ""))
            return len(workers) == 2

        with ThreadPoolExecutor(CLIENTS) as threads:
            until(are_both)
        return answers

    def stop(self) -> None:
        """Ask it to end, once: some servers hurry if they are asked twice."""
        if next(self._stops, False):
            self.process.terminate()

    def told(self) -> str:
        """What it told of itself, once it has ended."""
        self.stop()
        return self.process.communicate(timeout=PATIENCE_SECONDS)[1]


@contextmanager
def served(server: str, app: str, folder: Path) -> Iterator[Served]:
    running = Served(server, app, folder)
    try:
        yield running
    finally:
        if running.process.poll() is None:
            running.told()


def token_of(answer: httpx.Response) -> str:
    assert answer.status_code == 200, answer.text
    return answer.headers["set-cookie"].partition(";")[0].removeprefix(f"{COOKIE}=")


def log_ins_until_it_ends(running: Served) -> list[str]:
    """The tokens that were acknowledged: by a server that is asked to end once they are enough, to
    clients that go on until nobody answers them."""
    tokens: list[str] = []

    def log_in_again_and_again(number: int) -> None:
        while True:
            try:
                answer = running.ask("POST", f"/login?principal=user-{number}")
            except httpx.TransportError:
                return
            if answer.status_code != 200:
                assert len(tokens) >= ENOUGH, answer.text
                return
            tokens.append(token_of(answer))
            if len(tokens) >= ENOUGH:
                running.stop()

    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(log_in_again_and_again, range(CLIENTS)))
    return tokens


@pytest.mark.parametrize(("server", "app"), list(cases()))
def test_workers_agree_at_once_and_a_stop_loses_nothing(
    server: str, app: str, tmp_path: Path
) -> None:
    with served(server, app, tmp_path) as running:
        first = token_of(running.ask("POST", "/login?principal=alice"))
        assert running.of_both("/required", first) == {(200, "alice")}
        second = token_of(running.ask("POST", "/become?principal=bob", first))
        assert running.of_both("/required", first) == {(401, "")}
        assert running.of_both("/required", second) == {(200, "bob")}
        assert running.ask("POST", "/logout", second).status_code == 200
        assert running.of_both("/required", second) == {(401, "")}

        tokens = log_ins_until_it_ends(running)
        assert len(tokens) >= ENOUGH
        told = running.told()
    assert not re.search(r"sessionledger/.*\n(.*\n)*.*Error", told), told
    with SessionStore.open(ledger_in(tmp_path)) as store:
        assert all(store.get(token) for token in tokens)
        assert store.verify().ok


def test_the_page_lists_what_is_tried() -> None:
    section = (ROOT / "docs" / "integrations.md").read_text().partition("\n## Servers\n")[2]
    for command, apps in SERVERS.values():
        words = {"--preload", "gthread", "gevent", "wsgi", "asgi", "uvicorn.workers.UvicornWorker"}
        wanted = {command[0], *words.intersection(command)}
        rows = [row for row in section.split("\n") if wanted <= {*re.findall(r"[\w.-]+", row)}]
        assert any(row.endswith(f"| {', '.join(NAMES[app] for app in apps)} |") for row in rows)


@pytest.mark.middle
def test_an_application_under_trio_does_not_start_and_the_server_ends(tmp_path: Path) -> None:
    command = (
        *(sys.executable, "-m", "hypercorn", "--worker-class", "trio", "--workers", "1"),
        *("--bind", f"127.0.0.1:{free_port()}", f"{APPS}:in_starlette()"),
    )
    ended = subprocess.run(
        command,
        env=os.environ | {"LEDGER": ledger_in(tmp_path)},
        timeout=PATIENCE_SECONDS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "needs an asyncio event loop" in ended.stderr
