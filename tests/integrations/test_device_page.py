"""The page “where you are signed in”: its texts, its bounds, and what it does without its extra."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from django.utils.functional import lazystr
from flask import Flask

from sessionledger import LogUnavailable, Session, SessionStore
from sessionledger.integrations import Requirements, Settings
from sessionledger.integrations.devices import TEXTS, DevicePage
from sessionledger.integrations.devices.page import as_shown, device_of
from sessionledger.integrations.flask import Sessions
from sessionledger.integrations.flask.devices import blueprint
from sessionledger.testing import Clock
from tests.integrations.conformance import THEIRS
from tests.integrations.test_devices import FIREFOX, PAGE, SAFARI

NAMES = {
    FIREFOX: ("Firefox", "Windows"),
    SAFARI: ("Mobile Safari", "iOS (iPhone)"),
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/124.0.0.0 Mobile Safari/537.36": ("Chrome Mobile", "Android"),
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.4.1 Safari/605.1.15": ("Safari", "Mac OS X"),
    "curl/8.1": ("curl", None),
    "<b>nobody knows</b>": (None, None),
    "": (None, None),
}


class DeviceSite:
    """An application with the page alone."""

    def __init__(self, page: DevicePage | None = None, **told: Any) -> None:
        self.clock = Clock()
        self.store = SessionStore.open("memory:", clock=self.clock)
        self.sessions = Sessions(lambda _: self.store, settings=Settings(**told))
        app = Flask("devices")
        self.sessions.init_app(app)
        app.register_blueprint(blueprint(self.sessions, page))
        self.client = app.test_client(use_cookies=False)

    def __call__(self, method: str, path: str, **headers: str) -> Any:
        return self.client.open(path, method=method, headers=headers, base_url="https://localhost")

    def page_of(self, session: Any) -> str:
        return str(self("GET", "/sessions", **PAGE, Authorization=f"Bearer {session.token}").text)


def shown(user_agent: str) -> dict[str, Any]:
    store = SessionStore.open("memory:")
    session: Session = store.create("alice", context={"user_agent": user_agent})
    return device_of(session, session)


@pytest.mark.parametrize("user_agent", NAMES, ids=lambda agent: agent[:24])
def test_a_user_agent_is_named_without_a_network(user_agent: str) -> None:
    device = shown(user_agent)
    assert (device["browser"], device["system"]) == NAMES[user_agent]
    assert device["user_agent"] == (user_agent or None)


def test_what_nobody_sees_is_replaced_and_what_is_long_is_cut() -> None:
    assert as_shown("a\u202eb\u200bc\nd\x00e") == "a\ufffdb\ufffdc\ufffdd\ufffde"
    assert as_shown("שלום عربي 日本 é") == "שלום عربي 日本 é"
    assert as_shown("x" * 160) == "x" * 160
    assert as_shown("x" * 70_000) == "x" * 160 + "…"


def test_every_text_can_be_another() -> None:
    texts = {name: f"«{name}»{text[text.find('{') :]}" for name, text in TEXTS.items()}
    texts |= {"language": "he", "direction": "rtl", "browser_on_system": "{system}: {browser}"}
    site = DeviceSite(DevicePage(texts=texts | {"title": lazystr("<Geräte>")}))
    told = {"user_agent": FIREFOX, "address": "192.0.2.7"}
    session = site.store.create("alice", context=told)
    site.store.create("alice")
    page = site.page_of(session)
    assert '<html lang="he" dir="rtl">' in page
    assert "<title>&lt;Geräte&gt;</title>" in page
    assert "<bdi>Windows</bdi>: <bdi>Firefox</bdi>" in page
    others = {"language", "direction", "title", "browser_on_system", "more"}
    assert all(f"«{name}»" in page for name in TEXTS.keys() - others)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"texts": {"heading": "Geräte"}}, "texts must have names of TEXTS, got heading"),
        ({"after_log_out": "https://evil.test"}, "after_log_out must be a path"),
        ({"after_log_out": "//evil.test"}, "after_log_out must be a path"),
    ],
)
def test_a_page_that_could_not_be_is_refused_when_it_is_made(
    told: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        DevicePage(**told)


def test_a_hundred_logins_are_shown_this_one_first_and_the_rest_are_counted() -> None:
    site = DeviceSite()
    first = site.store.create("alice")
    for _ in range(320):
        site.clock.now += timedelta(seconds=1)
        last = site.store.create("alice")
    answer = site("GET", "/sessions", Authorization=f"Bearer {first.token}").json
    assert (len(answer["sessions"]), answer["more"]) == (100, 221)
    assert [one["id"] for one in answer["sessions"][:2]] == [first.handle, last.handle]
    assert "221</bdi> more are not shown." in site.page_of(first)


def test_an_end_of_others_takes_what_the_page_requires_and_a_look_does_not() -> None:
    site = DeviceSite(DevicePage(to_end=Requirements(max_auth_age=timedelta(minutes=10))))
    own, other = site.store.create("alice"), site.store.create("alice")
    bearer = {"Authorization": f"Bearer {own.token}"}
    site.clock.now += timedelta(minutes=11)
    ends = (
        ("DELETE", f"/sessions/{other.handle}"),
        ("POST", f"/sessions/{other.handle}/revoke"),
        ("POST", "/sessions/revoke-others"),
        ("POST", "/logout-everywhere"),
    )
    assert site("GET", "/sessions", **bearer).status_code == 200
    for method, path in ends:
        answer = site(method, path, **bearer)
        assert (answer.status_code, site.store.count()) == (401, 2)
        assert 'max_age="600"' in answer.headers["WWW-Authenticate"]
    site.store.reauthenticate(own.token)
    assert site(*ends[0], **bearer).status_code == 204
    site.clock.now += timedelta(minutes=11)
    assert site("DELETE", f"/sessions/{own.handle}", **bearer).status_code == 204, "its own"


@pytest.mark.parametrize("case", THEIRS)
def test_forged_requests_are_refused_also_where_all_sites_may_use_the_cookie(case: str) -> None:
    site = DeviceSite(cross_site_cookies=True)
    session, other = site.store.create("alice"), site.store.create("alice")
    told = THEIRS[case] | {"Cookie": f"__Host-session={session.token}"}
    for path in ("/sessions/revoke-others", f"/sessions/{other.handle}/revoke"):
        assert site("POST", path, **told).status_code == 403
    assert site("POST", "/logout-everywhere", **told).status_code == 403
    assert site.store.count() == 2


def test_while_the_ledger_is_away_the_answer_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    site = DeviceSite()
    session, other = site.store.create("alice"), site.store.create("alice")

    def away(*_: object, **__: object) -> None:
        raise LogUnavailable("not now")

    monkeypatch.setattr(site.store, "revoke_all", away)
    monkeypatch.setattr(site.store, "revoke", away)
    bearer = {"Authorization": f"Bearer {session.token}"}
    for method, path in (
        ("POST", "/sessions/revoke-others"),
        ("DELETE", f"/sessions/{other.handle}"),
    ):
        answer = site(method, path, **bearer)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


WITHOUT = """
import sys
sys.modules |= {name: None for name in ("jinja2", "markupsafe", "ua_parser")}
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.testclient import TestClient
from sessionledger import AsyncSessionStore, SessionStore, open_log
from sessionledger.integrations import Settings, user_agent_and_address
from sessionledger.integrations.starlette import Sessions
from sessionledger.integrations.starlette.devices import routes

log = open_log("memory:")
token = SessionStore(log).create("alice", context={"user_agent": "Firefox <b>"}).token
sessions = Sessions(lambda: AsyncSessionStore(log))
app = Starlette(
    routes=routes(sessions),
    lifespan=sessions.lifespan,
    middleware=[Middleware(sessions.middleware)],
)
with TestClient(app, base_url="https://testserver") as client:
    headers = {"Accept": "text/html", "Authorization": f"Bearer {token}"}
    print(client.get("/sessions", headers=headers).text)
"""


def test_without_the_extra_there_is_json_with_the_raw_text() -> None:
    printed = subprocess.check_output([sys.executable, "-c", WITHOUT], text=True)
    (device,) = json.loads(printed)["sessions"]
    assert (device["browser"], device["user_agent"]) == (None, "Firefox <b>")


def test_without_ua_parser_the_page_shows_the_raw_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ua_parser", None)
    site = DeviceSite()
    session = site.store.create("alice", context={"user_agent": f"<b>{FIREFOX}"})
    assert f"<bdi>&lt;b&gt;{FIREFOX}</bdi>" in site.page_of(session)
