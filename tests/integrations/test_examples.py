"""The examples do what they say, over real servers: one story for all of them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from sessionledger import SessionStore
from tests.integrations.conformance import is_browsers
from tests.integrations.processes import ledger_in, served
from tests.integrations.site import COOKIE, OWN

EXAMPLES = Path(__file__).parents[2] / "examples" / "web"
MOST_HELD = 20
SERVERS = {
    "fastapi_app": ("uvicorn", "app", "--app-dir", str(EXAMPLES)),
    "django_app": ("gunicorn", "application", "--chdir", str(EXAMPLES), "--workers", "2"),
    "flask_app": ("gunicorn", "create_app()", "--chdir", str(EXAMPLES), "--workers", "2"),
    "litestar_app": ("uvicorn", "app", "--app-dir", str(EXAMPLES)),
}


@contextmanager
def running(name: str, folder: Path) -> Iterator[httpx.Client]:
    server, app, *options = SERVERS[name]
    with served(server, f"{name}:{app}", folder, *options) as client:
        yield client


class Browser:
    """Keeps one cookie, as a browser does, and calls itself by a name."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        self._client = client
        self._headers = {**OWN, "User-Agent": name}
        self.token = ""

    def __call__(self, method: str, path: str, **told: object) -> httpx.Response:
        cookie = {"Cookie": f"{COOKIE}={self.token}"} if self.token else {}
        answer = self._client.request(method, path, headers=self._headers | cookie, **told)  # type: ignore[arg-type]
        self._client.cookies.clear()
        if "set-cookie" in answer.headers:
            assert is_browsers(answer.headers["set-cookie"])
            self.token = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
        return answer

    def log_in(self, password: str = "correct horse") -> int:
        told = {"name": "alice", "password": password}
        return self("POST", "/login", json=told).status_code


def test_every_example_is_run() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SERVERS)


@pytest.mark.sampled
@pytest.mark.parametrize("name", SERVERS)
def test_somebody_logs_in_here_and_there_and_out(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as client, SessionStore.open(ledger_in(tmp_path)) as store:
        phone, laptop = Browser(client, "phone"), Browser(client, "laptop")
        assert phone("GET", "/").status_code == 401
        assert (phone.log_in("wrong"), phone.token) == (401, "")
        assert (phone.log_in(), laptop.log_in()) == (200, 200)
        assert "hello, alice" in phone("GET", "/").text
        listed = phone("GET", "/account/sessions").json()["sessions"]
        assert [one["user_agent"] for one in listed] == ["phone", "laptop"]
        old = phone.token
        assert "changed" in phone("POST", "/password").text
        assert phone.token != old
        assert laptop("GET", "/").status_code == 401
        assert phone("GET", "/").status_code == 200
        assert phone("POST", "/logout").status_code == 200
        assert (phone.token, store.count(principal="alice")) == ("", 0)


@pytest.mark.sampled
@pytest.mark.parametrize("name", SERVERS)
def test_no_thief_outlives_a_new_password(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as client, SessionStore.open(ledger_in(tmp_path)) as store:
        owner, thief = Browser(client, "owner"), Browser(client, "thief")
        owner.log_in()
        thief.token = stolen = owner.token
        assert thief("GET", "/").status_code == 200
        held = [stolen, rotated(store, stolen), rotated(store, stolen)]
        assert "changed" in owner("POST", "/password").text
        check_is_out(thief, store, held)
        assert owner("GET", "/").status_code == 200


@pytest.mark.middle
@pytest.mark.parametrize("name", SERVERS)
def test_no_thief_gets_between_old_and_new(name: str, tmp_path: Path) -> None:
    """The thief rotates, as often as it is let, while the password is changed."""
    with running(name, tmp_path) as client, SessionStore.open(ledger_in(tmp_path)) as store:
        for _ in range(10):
            owner, thief = Browser(client, "owner"), Browser(client, "thief")
            owner.log_in()
            held = [owner.token]
            fleeing = threading.Thread(target=flee, args=(store, held))
            fleeing.start()
            assert "changed" in owner("POST", "/password").text
            fleeing.join()
            check_is_out(thief, store, held)
            assert owner("GET", "/").status_code == 200


@pytest.mark.sampled
@pytest.mark.parametrize("name", SERVERS)
def test_a_log_out_everywhere_reaches_every_device(name: str, tmp_path: Path) -> None:
    with running(name, tmp_path) as client, SessionStore.open(ledger_in(tmp_path)) as store:
        phone, laptop = Browser(client, "phone"), Browser(client, "laptop")
        assert (phone.log_in(), laptop.log_in()) == (200, 200)
        stolen = laptop.token
        held = [stolen, rotated(store, stolen)]
        assert "2 logged out" in phone("POST", "/logout-everywhere").text
        assert phone.token == ""
        check_is_out(laptop, store, held)


def rotated(store: SessionStore, token: str) -> str:
    issued = store.rotate(token)
    assert issued is not None
    return issued.token


def flee(store: SessionStore, held: list[str]) -> None:
    """Rotate the newest token that is held, as long as one is good and not without an end."""
    while len(held) < MOST_HELD and (issued := store.rotate(held[-1])) is not None:
        held.append(issued.token)


def check_is_out(thief: Browser, store: SessionStore, held: list[str]) -> None:
    """Whatever the thief tries with the tokens that it holds."""
    for token in held:
        thief.token = token
        assert thief("GET", "/").status_code == 401
        assert thief("POST", "/password").status_code == 401
        assert store.get(token) is store.authenticate(token) is store.rotate(token) is None
        assert store.patch(token, {"role": "thief"}) is store.change_credentials(token) is None
        assert store.log_out_everywhere(token) == 0
