"""Logging in with a key, what a log in may do, and what ends it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import Session, SessionStore
from sessionledger.console.app import HEADERS, SCREENS
from sessionledger.server.service.keys import KEY_POLICY, key_of
from sessionledger.server.settings import KEYS_TOPIC
from tests.cli.running import Line
from tests.console.running import Running, Visitor
from tests.server.served import make_key

ROUTES = [route for screen in SCREENS for route in screen.ROUTES]
POSTS = sorted(
    path
    for route in ROUTES
    for path in route.paths
    if "POST" in route.http_methods and path != "/login"
)


def log_ins(store: SessionStore, name: str) -> list[Session]:
    keys = store.on_topic(KEYS_TOPIC, policy=KEY_POLICY)
    return [one for one in keys.sessions() if one.principal.startswith(f"{name} console ")]


def test_a_key_is_exchanged_for_a_child_that_ends_soon(
    visitor: Visitor, store: SessionStore, key: str
) -> None:
    answer = Visitor(visitor.url).log_in(key)
    (line,) = answer.headers.get_list("set-cookie")
    assert line.startswith("__Host-console-")
    assert line.endswith("; Max-Age=28800; Path=/; Secure; HttpOnly; SameSite=Strict")
    found = log_ins(store, "ops")[-1]
    assert (found.deadline or found.expires_at) - found.created_at == timedelta(hours=8)
    assert found.idle_timeout == timedelta(minutes=15)
    assert found.ancestors[0].principal == "ops"
    keys = store.on_topic(KEYS_TOPIC, policy=KEY_POLICY)
    (entry,) = keys.history(handle=found.handle)
    assert (entry.actor, entry.reason) == ("ops", "logged in to the console")


def test_two_browsers_of_one_key_stay_logged_in(visitor: Visitor, key: str) -> None:
    other = Visitor(visitor.url)
    other.log_in(key)
    assert [one.get("/").status_code for one in (visitor, other)] == [200, 200]


def test_a_log_in_is_no_key_of_the_service(visitor: Visitor, store: SessionStore) -> None:
    assert [key_of(one) for one in log_ins(store, "ops")] == [None] * len(log_ins(store, "ops"))


def test_a_key_in_the_cookie_or_as_a_bearer_is_nobody(visitor: Visitor, key: str) -> None:
    name = visitor.cookie.partition("=")[0]
    for header in ({"Cookie": f"{name}={key}"}, {"Authorization": f"Bearer {key}"}):
        answer = visitor.ask("GET", "/", header)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        assert visitor.ask("GET", "/login", header).status_code == 200


def test_a_log_in_ends_with_its_key(running: Running, folder: Path, store: SessionStore) -> None:
    key = make_key(folder, "leaver", "sessions:read")
    visitor = Visitor(running.url)
    visitor.log_in(key)
    assert visitor.get("/").status_code == 200
    (found,) = list(store.on_topic(KEYS_TOPIC).sessions(principal="leaver"))
    assert Line(folder)("keys", "revoke", "--handle", found.handle).code == 0
    assert visitor.get("/").headers["location"] == "/login"
    assert visitor.post("/logout").status_code == 401


def test_logging_out_ends_the_log_in_and_not_the_key(visitor: Visitor, key: str) -> None:
    answer = visitor.post("/logout", csrf=visitor.csrf())
    assert answer.headers["location"] == "/login"
    assert visitor.get("/").status_code == 303
    assert visitor.log_in(key).status_code == 303
    assert visitor.get("/").status_code == 200


@pytest.mark.parametrize("wrong", ["", "x", "harn_sess_" + "A" * 43, "\u202e" * 40, "x" * 60_000])
def test_what_is_no_live_key_is_refused_alike_and_not_repeated(
    running: Running, wrong: str
) -> None:
    visitor = Visitor(running.url)
    answer = visitor.log_in(wrong)
    assert (answer.status_code, visitor.cookie) == (401, "")
    assert "That is not a live admin key." in answer.text
    assert len(wrong) < 30 or wrong not in answer.text


@pytest.mark.middle
def test_wrong_keys_are_limited_and_good_ones_are_not(folder: Path, key: str) -> None:
    running = Running(folder, "--address-requests-per-minute", "3")
    try:
        visitor = Visitor(running.url)
        codes = [visitor.log_in("wrong").status_code for _ in range(5)]
        assert codes == [401, 401, 401, 429, 429]
        assert visitor.log_in(key).status_code == 303
    finally:
        running.stop()


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {},
    ],
)
def test_a_form_of_another_site_is_refused(
    visitor: Visitor, path: str, headers: dict[str, str]
) -> None:
    answer = visitor.post(path, headers, csrf=visitor.csrf())
    assert answer.status_code == 403


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("form", [{}, {"csrf": "0" * 64}, {"csrf": "\u00e9"}])
def test_a_form_without_the_secret_of_its_log_in_is_refused(
    visitor: Visitor, path: str, form: dict[str, str]
) -> None:
    answer = visitor.post(path, **form)
    assert answer.status_code == 403
    assert "belongs to another log in" in answer.text


def test_the_secret_of_another_log_in_is_refused(visitor: Visitor, key: str) -> None:
    other = Visitor(visitor.url)
    other.log_in(key)
    assert visitor.post("/logout", csrf=other.csrf()).status_code == 403
    assert visitor.get("/").status_code == 200


def test_a_log_in_that_another_site_sends_is_refused(running: Running, key: str) -> None:
    visitor = Visitor(running.url)
    answer = visitor.log_in(key, {"Origin": "https://e.example"})
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    answer = visitor.log_in("wrong", {"Origin": "https://e.example"})
    assert answer.status_code == 403, "it is not even looked at"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "localhost:1", ""])
def test_a_request_for_another_host_is_refused(running: Running, host: str) -> None:
    answer = Visitor(running.url).ask("GET", "/login", {"Host": host})
    assert answer.status_code == 421


def test_every_answer_has_the_headers(running: Running, visitor: Visitor) -> None:
    for path in ("/", "/login", "/nothing", "/static/console.css", "/integrity"):
        answer = visitor.get(path)
        assert HEADERS.items() <= {name: answer.headers.get(name) for name in HEADERS}.items()
    assert visitor.get("/nothing").status_code == 404


def test_what_a_key_may_not_do_is_not_offered_and_not_done(running: Running, folder: Path) -> None:
    visitor = Visitor(running.url)
    visitor.log_in(make_key(folder, "narrow", "introspect"))
    page = visitor.get("/")
    assert page.status_code == 200
    assert 'href="/integrity"' not in page.text
    assert "/feed" not in page.text
    assert "live</li>" not in page.text
    told = "has no scope events:read"
    for path in ("/integrity", "/feed"):
        answer = visitor.get(path)
        assert (answer.status_code, told in answer.text) == (403, True)
    for path in ("/integrity/verify", "/integrity/examine"):
        answer = visitor.post(path, csrf=visitor.csrf())
        assert (answer.status_code, told in answer.text) == (403, True)


def test_the_time_zone_of_the_viewer_is_kept(visitor: Visitor) -> None:
    answer = visitor.post("/preferences", csrf=visitor.csrf(), zone="Asia/Tokyo")
    (line,) = [one for one in answer.headers.get_list("set-cookie") if "zone" in one]
    visitor.cookie += f"; {line.partition(';')[0]}"
    assert "Times: Asia/Tokyo" in visitor.get("/").text
    assert visitor.post("/preferences", csrf=visitor.csrf(), zone="Mars/Base").status_code == 400
