"""“Where you are signed in”: one suite for all frameworks, with their routes below `/account`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from urllib.parse import unquote

import pytest

from sessionledger import ANONYMOUS, IssuedSession
from tests.integrations.apps import fastapi_app, starlette_app
from tests.integrations.asgi_site import running as running_asgi
from tests.integrations.conformance import INVALID, OURS, PLAIN, THEIRS, is_refused
from tests.integrations.django_site import CoroutineSite, DjangoSite
from tests.integrations.django_site import running as running_django
from tests.integrations.site import OWN, Site, opened
from tests.integrations.test_flask import FlaskSite
from tests.integrations.test_litestar import LitestarSite


@contextmanager
def running_litestar() -> Iterator[Site]:
    with opened(LitestarSite) as site:
        assert isinstance(site, LitestarSite)
        with site.client:
            yield site


RUNNING: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "flask": lambda: opened(FlaskSite),
    "starlette": lambda: running_asgi(starlette_app.make),
    "fastapi": lambda: running_asgi(fastapi_app.make),
    "litestar": running_litestar,
    "django": lambda: running_django(DjangoSite),
    "django on a loop": lambda: running_django(CoroutineSite),
}

FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:130.0) Gecko/20100101 Firefox/130.0"
SAFARI = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
BROWSERS = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"
PAGE = {"Accept": BROWSERS}
UNKNOWN = "sha256:v1:" + "0" * 64


@pytest.fixture(params=RUNNING)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with RUNNING[request.param]() as site:
        yield site


def signed_in(site: Site, principal: str = "alice", agent: str = FIREFOX) -> IssuedSession:
    return site.create(principal, context={"user_agent": agent, "address": "192.0.2.7"})


def listed(site: Site, issued: IssuedSession) -> list[dict[str, Any]]:
    answer = site("GET", "/account/sessions", cookie=issued.token)
    assert (answer.status, answer.one("content-type")) == (200, "application/json")
    found: list[dict[str, Any]] = json.loads(answer.text)["sessions"]
    return found


def is_live(site: Site, issued: IssuedSession) -> bool:
    return site.store.get(issued.token) is not None


def test_the_list_shows_each_login_of_the_principal_and_which_is_this(site: Site) -> None:
    phone, laptop = signed_in(site, agent=SAFARI), signed_in(site)
    signed_in(site, "bob")
    assert listed(site, laptop) == [
        {
            "id": one.handle,
            "current": one is laptop,
            "browser": browser,
            "system": system,
            "user_agent": agent,
            "address": "192.0.2.7",
            "created_at": "2026-05-02T12:00:00.000000Z",
            "last_seen_at": "2026-05-02T12:00:00.000000Z",
            "expires_at": "2026-05-02T13:00:00.000000Z",
        }
        for one, browser, system, agent in (
            (laptop, "Firefox", "Windows", FIREFOX),
            (phone, "Mobile Safari", "iOS (iPhone)", SAFARI),
        )
    ]


def test_a_login_is_ended_from_another_device(site: Site) -> None:
    phone, laptop = signed_in(site, agent=SAFARI), signed_in(site)
    assert site("GET", "/required", cookie=phone.token).status == 200
    told = {**OWN, "User-Agent": FIREFOX}
    answer = site("DELETE", f"/account/sessions/{phone.handle}", told, cookie=laptop.token)
    assert (answer.status, answer.text) == (204, "")
    assert is_refused(site("GET", "/required", cookie=phone.token), 401, INVALID)
    assert site("GET", "/required", cookie=laptop.token).status == 200
    *_, end = site.store.history(handle=phone.handle)
    assert (end.cause, end.reason, end.actor) == (
        "revoked",
        "signed out on another device",
        "alice",
    )
    assert end.context["user_agent"] == FIREFOX


def test_the_session_of_another_principal_is_as_unknown_as_one_that_is_not(site: Site) -> None:
    alice, bob, visitor = signed_in(site), signed_in(site, "bob"), site.create(ANONYMOUS)
    answers = [
        site("DELETE", f"/account/sessions/{id}", bearer=alice.token)
        for id in (bob.handle, visitor.handle, UNKNOWN, "x", bob.token)
    ]
    assert {answer.status for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1
    forms = [
        site("POST", f"/account/sessions/{id}/revoke", {**OWN, **PAGE}, cookie=alice.token)
        for id in (bob.handle, UNKNOWN)
    ]
    assert {(one.status, one.one("location")) for one in forms} == {(303, "../../sessions")}
    assert is_live(site, bob)
    assert is_live(site, visitor)


def test_an_ended_session_is_as_unknown_and_nothing_is_written(site: Site) -> None:
    phone, laptop = signed_in(site), signed_in(site)
    site.store.revoke(handle=phone.handle)
    head = site.store.head()
    path = f"/account/sessions/{phone.handle}"
    assert site("DELETE", path, bearer=laptop.token).status == 404
    assert site.store.head() == head


def test_an_id_is_no_token(site: Site) -> None:
    (shown,) = listed(site, signed_in(site))
    for path in ("/account/sessions", "/required"):
        assert site("GET", path, bearer=shown["id"]).status == 400, "not even the shape of one"
        assert site("GET", path, cookie=shown["id"]).status == 401


def test_one_browser_is_one_entry_and_keeps_its_id_when_it_rotates(site: Site) -> None:
    phone, laptop = signed_in(site), signed_in(site)
    rotated = site.store.rotate(phone.token)
    assert rotated is not None
    assert {one["id"] for one in listed(site, laptop)} == {phone.handle, laptop.handle}
    for of_phone in (rotated, phone):  # by the old token too, during its grace
        assert [one["id"] for one in listed(site, of_phone) if one["current"]] == [phone.handle]
    assert site("DELETE", f"/account/sessions/{phone.handle}", bearer=laptop.token).status == 204
    assert not is_live(site, rotated)
    assert not is_live(site, phone)


def test_all_others_are_ended_and_this_one_stays(site: Site) -> None:
    here, others, bob = signed_in(site), [signed_in(site) for _ in range(2)], signed_in(site, "bob")
    answer = site("POST", "/account/sessions/revoke-others", OWN, cookie=here.token)
    assert (answer.status, json.loads(answer.text)) == (200, {"ended": 2})
    assert [is_live(site, one) for one in (here, bob, *others)] == [True, True, False, False]


def test_a_log_out_everywhere_ends_all_and_takes_the_cookie(site: Site) -> None:
    here, other, bob = signed_in(site), signed_in(site), signed_in(site, "bob")
    answer = site("POST", "/account/logout-everywhere", OWN, cookie=here.token)
    assert (answer.status, json.loads(answer.text), answer.token) == (200, {"ended": 2}, "")
    assert [is_live(site, one) for one in (here, other, bob)] == [False, False, True]


def test_who_ends_the_own_session_is_logged_out(site: Site) -> None:
    here, other = signed_in(site), signed_in(site)
    answer = site("DELETE", f"/account/sessions/{here.handle}", OWN, cookie=here.token)
    assert (answer.status, answer.token) == (204, "")
    assert [is_live(site, one) for one in (here, other)] == [False, True]


CHANGING = (
    *(("POST", "/account/sessions/revoke-others"), ("POST", "/account/logout-everywhere")),
    *(("DELETE", "/account/sessions/{id}"), ("POST", "/account/sessions/{id}/revoke")),
)


@pytest.mark.parametrize("asked", CHANGING, ids=lambda asked: asked[1].rpartition("/")[2])
def test_no_other_site_ends_a_session(site: Site, asked: tuple[str, str]) -> None:
    here, other = signed_in(site), signed_in(site)
    method, path = asked[0], asked[1].format(id=other.handle)
    for headers in THEIRS.values():
        assert is_refused(site(method, path, headers, cookie=here.token), 403, None)
    assert is_live(site, here)
    assert is_live(site, other)
    assert site(method, path, OURS["its origin"], cookie=here.token).status < 300
    assert not is_live(site, other)


def test_nobody_is_shown_anything_without_a_log_in_of_the_own(site: Site) -> None:
    alice, visitor = signed_in(site), site.create(ANONYMOUS)
    agent = site.create("alice", parent=alice.handle)
    for method, path in (("GET", "/account/sessions"), *CHANGING):
        path = path.format(id=alice.handle)
        assert is_refused(site(method, path, OWN), 401, PLAIN)
        assert is_refused(site(method, path, OWN, cookie=visitor.token), 401, PLAIN)
        assert site(method, path, bearer=agent.token).status == 403
    assert is_live(site, alice)


@pytest.mark.parametrize(
    ("accept", "is_page"),
    [
        (BROWSERS, True),
        ("text/html", True),
        ("text/html;q=0.9, application/json;q=0.8", True),
        ("application/json, text/html;q=0.9", False),
        ("text/html; charset=utf-8; q=0.1, */*;q=0.5", False),
        ("text/html;q=0", False),
        ("application/json", False),
        ("*/*", False),
        ("text/html;q=x, ;;;q=1,,", True),
        ("", False),
    ],
)
def test_a_browser_gets_a_page_and_a_program_gets_json(
    site: Site, accept: str, is_page: bool
) -> None:
    token = signed_in(site).token
    answer = site("GET", "/account/sessions", {"Accept": accept}, cookie=token)
    kind = "text/html; charset=utf-8" if is_page else "application/json"
    assert (answer.status, answer.one("content-type")) == (200, kind)
    assert answer.one("vary") == "Accept, Cookie, Authorization"
    assert answer.one("cache-control") == "no-store"
    assert token not in answer.text


def test_the_forms_of_the_page_do_what_they_say_and_lead_back(site: Site) -> None:
    phone, laptop = signed_in(site, agent=SAFARI), signed_in(site)
    page = site("GET", "/account/sessions", PAGE, cookie=laptop.token)
    actions = re.findall('<form method="post" action="([^"]+)"', page.text)
    assert len(actions) == 4
    ends = {unquote(one): f"/account/{one}" for one in actions}
    told = {**OWN, **PAGE}
    answer = site("POST", ends[f"sessions/{phone.handle}/revoke"], told, cookie=laptop.token)
    assert (answer.status, answer.one("location")) == (303, "../../sessions")
    assert not is_live(site, phone)
    answer = site("POST", ends["sessions/revoke-others"], told, cookie=laptop.token)
    assert (answer.status, answer.one("location")) == (303, "../sessions")
    assert is_live(site, laptop)
    answer = site("POST", ends[f"sessions/{laptop.handle}/revoke"], told, cookie=laptop.token)
    assert (answer.status, answer.one("location"), answer.token) == (303, "/current", "")
    again = signed_in(site)
    answer = site("POST", ends["logout-everywhere"], told, cookie=again.token)
    assert (answer.status, answer.one("location"), answer.token) == (303, "/current", "")


def test_the_page_lets_nothing_in_but_its_style(site: Site) -> None:
    answer = site("GET", "/account/sessions", PAGE, cookie=signed_in(site).token)
    assert answer.one("content-security-policy") == (
        "default-src 'none'; style-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    )
    assert (answer.one("x-content-type-options"), answer.one("referrer-policy")) == (
        "nosniff",
        "same-origin",
    )
    assert not re.search(r"<script|<style|\son\w+=|\sstyle=", answer.text)
    style = site("GET", "/account/sessions/style.css")
    assert style.one("content-type") == "text/css; charset=utf-8"
    assert (style.one("cache-control"), style.one("vary")) == ("public, max-age=3600", None)
    assert "prefers-color-scheme: dark" in style.text


HOSTILE = "</bdi></h2><script>alert(1)</script>\u202e\u2066\x00\x1b[31m\"'>"


@pytest.mark.parametrize("text", [HOSTILE, HOSTILE * 1200], ids=["short", "64 KiB"])
def test_what_an_attacker_calls_himself_is_shown_as_text(site: Site, text: str) -> None:
    told = {"user_agent": text[:1500], "address": text[:1500]}
    noted = {"role": text[:45_000]}
    issued = site.create("alice <b></bdi>", context=told, attributes=noted)
    page = site("GET", "/account/sessions", PAGE, cookie=issued.token).text
    assert "<script" not in page
    assert "<b>" not in page
    assert "alice &lt;b&gt;" in page
    assert "role" not in page
    assert not any(sign in page for sign in "\u202e\u2066\x00\x1b")
    assert len(page) < 8_000
    (shown,) = listed(site, issued)
    assert all(len(one) <= 161 for one in shown.values() if isinstance(one, str))
    assert not any(sign in "".join(map(str, shown.values())) for sign in "\u202e\u2066\x00\x1b")


def test_no_page_is_at_a_path_that_its_relative_links_do_not_fit(site: Site) -> None:
    answer = site("GET", "/account/sessions/", PAGE, cookie=signed_in(site).token)
    assert answer.status in (307, 404)


def test_other_methods_are_answered_405(site: Site) -> None:
    token = signed_in(site).token
    for method, path in (
        ("PUT", "/account/sessions"),
        ("GET", "/account/logout-everywhere"),
        ("GET", "/account/sessions/revoke-others"),
    ):
        assert site(method, path, bearer=token).status == 405
