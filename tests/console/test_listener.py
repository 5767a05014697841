"""Where the console listens: beside a service with any number of workers, or alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.console.views import NAVIGATION
from sessionledger.server.service.keys import SCOPES
from sessionledger.testing.fixtures import until
from tests import postgres_server
from tests.cli.running import Line
from tests.console.running import Visitor
from tests.server.served import Served, make_key

CONSOLE = ("--no-access-log", "--console", "--console-address", "127.0.0.1:0")


def console_of(served: Served) -> str:
    told = served.line()
    assert told.startswith("console at "), told
    return told.removeprefix("console at ")


@pytest.mark.middle
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_service_serves_the_console_beside(tmp_path: Path, workers: str) -> None:
    key = make_key(tmp_path, "ops", "sessions:read", "events:read", "sessions:create")
    with Served(tmp_path, *CONSOLE, "--workers", workers) as served:
        visitor = Visitor(console_of(served))
        assert visitor.log_in(key).status_code == 303
        served.create(key, "alice")
        assert "requests refused by limits" in visitor.get("/").text
        token = visitor.cookie.partition("=")[2]
        assert served.call("GET", "/v1/sessions", token).status_code == 401
        assert served.call("GET", "/integrity").status_code == 404, "it has its own listener"
        assert served.stop() == 0
        assert "Traceback" not in "".join(served.rest())


@pytest.mark.middle
def test_the_console_comes_back_with_its_worker(tmp_path: Path) -> None:
    key = make_key(tmp_path, "ops", "sessions:read")
    with Served(tmp_path, *CONSOLE, "--workers", "2") as served:
        visitor = Visitor(console_of(served))
        visitor.log_in(key)
        for worker in children(served.process.pid):
            os.kill(worker, signal.SIGKILL)
        assert visitor.get("/").status_code == 200, "the log in is in the ledger"
        assert served.stop() == 0


def children(pid: int) -> list[int]:
    told = Path(f"/proc/{pid}/task/{pid}/children")
    until(lambda: len(told.read_text().split()) == 2)
    return [*map(int, told.read_text().split())]


@pytest.mark.middle
def test_a_file_ledger_has_the_console_in_the_process_that_writes_it(tmp_path: Path) -> None:
    ledger = f"file://{tmp_path / 'ledger'}"
    with SessionStore.open(ledger) as store:
        store.create("alice")
    key = make_key(tmp_path, "ops", "sessions:read", ledger=ledger)
    with Served(tmp_path, *CONSOLE, "--ledger", ledger) as served:
        visitor = Visitor(console_of(served))
        assert visitor.log_in(key).status_code == 303
        assert visitor.get("/").status_code == 200
        assert served.stop() == 0


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        ("--console-address", "localhost:8421", "must be an IP address and a port"),
        ("--console-address", "127.0.0.1", "must be an IP address and a port"),
        ("--console-address", "127.0.0.1:99999", "must be an IP address and a port"),
        ("--console-address", "0.0.0.0:8421", "console_hosts must name"),
        ("--console-address", "[::]:8421", "console_hosts must name"),
    ],
)
@pytest.mark.parametrize("command", ["console", "serve"])
def test_an_address_that_is_open_by_mistake_is_refused(
    tmp_path: Path, command: str, option: str, value: str, told: str
) -> None:
    line = Line(tmp_path)
    line.create()
    answer = line(command, option, value)
    assert answer.code == 2
    assert told in answer.err


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    answer = Line(tmp_path)("console", "--ledger", "mistyped.db")
    assert answer.code != 0
    assert "mistyped.db" in answer.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.middle
def test_the_console_shows_a_ledger_in_postgresql(tmp_path: Path) -> None:
    url = postgres_server.address(tmp_path)
    key = make_key(tmp_path, "ops", *SCOPES, ledger=url)
    with Served(tmp_path, *CONSOLE, "--workers", "2", "--ledger", url) as served:
        visitor = Visitor(console_of(served))
        assert visitor.log_in(key).status_code == 303
        served.create(key, "alice")
        for path, _, _ in NAVIGATION:
            assert visitor.get(path).status_code == 200, path
        assert served.stop() == 0


def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path) -> None:
    line = Line(tmp_path)
    line.create()
    program = (
        "import sys; sys.modules['jinja2'] = None\n"
        "from sessionledger.cli.main import main\n"
        "sys.exit(main(['console', '--ledger', 'sessions.db']))"
    )
    answer = line.program(program)
    assert answer.code == 2
    assert "pip install 'sessionledger[console]'" in answer.err
