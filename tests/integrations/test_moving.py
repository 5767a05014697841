"""A shop moves here from another session library, by the recipes of docs/moving.md."""

from __future__ import annotations

import re
import runpy
from collections.abc import Iterator
from difflib import ndiff
from pathlib import Path
from typing import Any

import flask
import httpx
import pytest
from flask.sessions import SecureCookieSessionInterface
from litestar import Litestar
from litestar.testing import TestClient as LitestarClient
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.testclient import TestClient as StarletteClient

from sessionledger import SessionStore
from tests import redis_server
from tests.cli.running import Line

PAGE = (Path(__file__).parents[2] / "docs" / "moving.md").read_text()
APPS = Path(__file__).parent / "apps" / "moving"
URL = "http://testserver.local"
IMPORTS = dict(
    re.findall(r"^(?:SECRET_KEY=… )?sessionledger import (\S+) \S+ ?(.*)$", PAGE, re.MULTILINE)
)


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


@pytest.fixture
def in_redis(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with redis_server.database() as url:
        monkeypatch.setenv("REDIS", url)
        yield url


@pytest.fixture
def ledger(line: Line, monkeypatch: pytest.MonkeyPatch) -> Iterator[SessionStore]:
    url = f"sqlite:///{line.folder / 'sessions.db'}"
    monkeypatch.setenv("LEDGER", url)
    with SessionStore.open(url) as store:
        yield store


def block_with(word: str) -> str:
    """The Python of the page in which that stands."""
    block: str
    (block,) = (b for b in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if word in b)
    return block


def shop(name: str) -> Any:
    """A new one: `flask_before`, `flask_after` and so on."""
    return runpy.run_path(str(APPS / f"{name}.py"))["app"]


def browsing(app: Any, cookie: str | None = None) -> Any:
    """A browser of an application, with the cookie of another one."""
    if isinstance(app, flask.Flask):
        client: Any = httpx.Client(transport=httpx.WSGITransport(app), base_url=URL)
    elif isinstance(app, Litestar):
        client = LitestarClient(app, base_url=URL)
    else:
        client = StarletteClient(app, base_url=URL)
    if cookie is not None:
        client.cookies.set("session", cookie, domain="testserver.local", path="/")
    return client


def visit(browser: httpx.Client) -> str:
    """Somebody logs in and puts something into the basket: the cookie after that."""
    assert browser.post("/login?name=alice").text == "logged in"
    assert browser.post("/basket?put=tea").text == "put"
    return browser.cookies["session"]


# The old libraries leave connections open.
VISITING = f"""
import sys, warnings
sys.path.insert(0, {str(APPS.parents[3])!r})
warnings.simplefilter("ignore")
from tests.integrations.test_moving import browsing, shop, visit
with browsing(shop(sys.argv[1])) as browser:
    print(visit(browser))
"""


def changed(framework: str) -> str:
    """How a small shop changes, as the page says it."""
    before, after = (
        [text for text in (APPS / f"{framework}_{when}.py").read_text().splitlines()[1:] if text]
        for when in ("before", "after")
    )
    marks = [line[0] for line in ndiff(before, after)]
    return f"{marks.count('-')} lines out and {marks.count('+')} in, of {len(before)}"


MOVED = {"flask": "flask-session", "starlette": "starsessions", "litestar": "litestar"}


@pytest.mark.parametrize("framework", MOVED)
def test_users_stay_logged_in_and_can_be_logged_out(
    line: Line, ledger: SessionStore, in_redis: str, framework: str
) -> None:
    kind = MOVED[framework]
    told = line.program(VISITING, f"{framework}_before")
    assert told.code == 0, told.err
    cookie = told.out.strip()
    answer = line("import", kind, in_redis, *IMPORTS[kind].split(), "--json")
    assert (answer.code, answer.record["imported"]) == (0, 1), answer.err
    (before,) = ledger.sessions(principal="alice")
    with browsing(shop(f"{framework}_after"), cookie) as browser:
        assert browser.get("/").text.startswith("alice has ['tea']")
        browser.post("/basket?put=milk")
        assert browser.get("/").text.startswith("alice has ['tea', 'milk']")
        (session,) = ledger.sessions(principal="alice")
        assert session.handle == before.handle
        assert session.expires_at > before.expires_at
        assert ledger.revoke_all("alice") == 1
        assert browser.get("/").text.startswith("visitor has None")
    assert line("import", kind, in_redis, *IMPORTS[kind].split(), "--json").record["imported"] == 0


@pytest.mark.parametrize("framework", MOVED)
def test_the_page_says_how_many_lines_change(framework: str) -> None:
    assert changed(framework) in PAGE


@pytest.mark.parametrize("is_signed_elsewhere", [False, True])
def test_a_signed_cookie_of_flask_becomes_a_session(
    ledger: SessionStore, is_signed_elsewhere: bool
) -> None:
    app = shop("flask_after")
    names: dict[str, Any] = {"app": flask.Flask("shop")}
    ours: Any = app.session_interface
    app.session_interface = SecureCookieSessionInterface()
    app.secret_key = "of the shop"
    with browsing(app) as browser:
        cookie = visit(browser)
    exec(block_with("LedgerSessionInterface(sessions") + block_with("MovingSession"), names)
    app.session_interface = names["MovingSessionInterface"](
        ours._sessions, principal=ours._principal
    )
    if is_signed_elsewhere:
        app.secret_key = "of a thief"
    with browsing(app, cookie) as browser:
        assert ledger.count() == 0
        answer = browser.get("/").text
        if is_signed_elsewhere:
            assert answer.startswith("visitor")
            assert ledger.count() == 0
            return
        assert answer == "alice has ['tea'] ['welcome']"
        (session,) = ledger.sessions()
        assert session.principal == "alice"
        assert browser.get("/").text == "alice has ['tea'] []"
        assert ledger.count() == 1
        assert ledger.revoke_all("alice") == 1
        assert browser.get("/").text.startswith("visitor")


def test_a_signed_cookie_of_starlette_becomes_a_session(ledger: SessionStore) -> None:
    app = shop("starlette_after")
    names: dict[str, Any] = {}
    key = "of the shop"
    app.user_middleware.clear()
    app.user_middleware.append(Middleware(SessionMiddleware, secret_key=key))
    with browsing(app) as browser:
        cookie = visit(browser)
    assert ledger.count() == 0
    exec(block_with("class TakeOver"), names)
    for secret, seen in ("of a thief", "visitor has None "), (key, "alice has ['tea'] "):
        moved = shop("starlette_after")
        moved.user_middleware.append(Middleware(names["TakeOver"], secret_key=secret))
        with browsing(moved, cookie) as browser:
            assert browser.get("/").text == seen
            assert browser.get("/").text == seen
    (session,) = ledger.sessions()
    assert session.principal == "alice"
