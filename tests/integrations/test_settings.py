"""Settings are checked when they are made, and what they are made of says what it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sessionledger import SessionStore
from sessionledger.integrations import (
    Cookie,
    Request,
    Requirements,
    Settings,
    user_agent_and_address,
)
from sessionledger.integrations.settings import credentials_of

TOKEN = "harn_sess_" + "A" * 43

WRONG: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    (Cookie, {"name": ""}, "name must be the name of a cookie"),
    (Cookie, {"name": "a b"}, "name must be the name of a cookie"),
    (Cookie, {"name": "sid;x"}, "name must be the name of a cookie"),
    (Cookie, {"same_site": "None"}, "same_site must be"),
    (Cookie, {"secure": False}, "__Host-session must be secure"),
    (Cookie, {"path": "/app"}, "__Host-session must have the path / and no domain"),
    (Cookie, {"domain": "example.org"}, "__Host-session must have the path / and no domain"),
    (Cookie, {"name": "__host-Sid", "domain": "example.org"}, "__host-Sid must have"),
    (Cookie, {"name": "__Secure-sid", "secure": False}, "__Secure-sid must be secure"),
    (Cookie, {"name": "sid", "path": "app"}, "path must begin with /"),
    (Cookie, {"name": "sid", "path": "/a; Domain=evil.test"}, "path must begin with /"),
    (Cookie, {"name": "sid", "domain": ""}, "domain must be"),
    (Cookie, {"name": "sid", "domain": "a;b"}, "domain must be"),
    (Settings, {"cookie": "sid"}, "cookie must be a Cookie"),
    (Settings, {"realm": 'a"b'}, "realm must be"),
    (Settings, {"realm": "a\r\nb"}, "realm must be"),
    (Settings, {"trusted_origins": "https://a.test"}, "trusted_origins must be"),
    (Settings, {"trusted_origins": ["a.test"]}, "trusted_origins must be"),
    (Settings, {"trusted_origins": ["https://a.test/"]}, "trusted_origins must be"),
    (Settings, {"trusted_origins": ["https://a.test/x"]}, "trusted_origins must be"),
    (Settings, {"trusted_origins": ["https://x@a.test"]}, "trusted_origins must be"),
    (Settings, {"trusted_origins": ["https://münchen.test"]}, "trusted_origins must be"),
    (Settings, {"trusted_origins": [None]}, "trusted_origins must be"),
    (Settings, {"cross_site_cookies": "no"}, "cross_site_cookies must be"),
    (Settings, {"trusted_origins": ["*"]}, "trusted_origins must be"),
    (Settings, {"trusted_origins": ["null"]}, "trusted_origins must be"),
    (Settings, {"context": {"a": "b"}}, "context must be"),
    (Requirements, {"scopes": "read"}, "scopes must be"),
    (Requirements, {"scopes": ["read write"]}, "scopes must be"),
    (Requirements, {"scopes": ['re"ad']}, "scopes must be"),
    (Requirements, {"scopes": [""]}, "scopes must be"),
    (Requirements, {"max_auth_age": timedelta(0)}, "max_auth_age must be"),
]


@pytest.mark.parametrize(("kind", "told", "message"), WRONG, ids=str)
def test_what_can_not_be_is_refused(
    kind: Callable[..., Any], told: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind(**told)


def test_a_cookie_says_all_that_it_is_told() -> None:
    cookie = Cookie(name="sid", same_site="Strict", secure=False, path="/app", domain="a.test")
    assert cookie.removing() == (
        "sid=; Max-Age=0; Path=/app; Domain=a.test; HttpOnly; SameSite=Strict"
    )


def test_a_cookie_is_kept_for_as_long_as_the_session_can_live() -> None:
    with SessionStore.open("memory:") as store:
        hour, minute = timedelta(hours=1), timedelta(minutes=1)
        plain = store.create("alice", ttl=hour)
        sliding = store.create("alice", ttl=hour, idle_timeout=minute)
    for issued in (plain, sliding):
        assert "; Max-Age=3600; " in Cookie().keeping(issued)


@pytest.mark.parametrize(
    ("told", "needed"),
    [({"level": True}, 1), ({"level": 1}, True), ({"level": 1.0}, 1), ({}, None), ({"x": 1}, 1)],
)
def test_an_attribute_has_to_be_there_and_equal(told: dict[str, Any], needed: object) -> None:
    with SessionStore.open("memory:") as store:
        lacking = store.create("alice", attributes=told)
        having = store.create("alice", attributes={"level": needed})
    requirements = Requirements(attributes={"level": needed})
    assert requirements.refusal(lacking, "a realm") is not None
    assert requirements.refusal(having, "a realm") is None


def test_a_repr_shows_no_token() -> None:
    request = Request("GET", [(b"authorization", f"Bearer {TOKEN}".encode())])
    settings = Settings()
    assert credentials_of(request, settings).token == TOKEN
    assert TOKEN not in repr(request) + repr(credentials_of(request, settings)) + repr(settings)


def test_the_context_leaves_out_what_is_not_known() -> None:
    assert user_agent_and_address(Request("GET", [])) == {}
    headers = [(b"user-agent", b"curl/8"), (b"cookie", b"a=b")]
    told = user_agent_and_address(Request("GET", headers, "192.0.2.7"))
    assert told == {"user_agent": "curl/8", "address": "192.0.2.7"}


def test_a_cookie_of_another_site_counts_only_where_a_setting_says_so() -> None:
    request = Request("POST", [(b"cookie", f"__Host-session={TOKEN}".encode())])
    assert credentials_of(request, Settings()).token is None
    assert credentials_of(request, Settings(cross_site_cookies=True)).token == TOKEN


@pytest.mark.parametrize("cookie", [Cookie(), Cookie(name="__Secure-sid", path="/app")])
@pytest.mark.parametrize("scheme", ["http", "https", None])
def test_a_site_with_a_secure_cookie_is_https_whatever_its_server_says(
    cookie: Cookie, scheme: str | None
) -> None:
    def counts(origin: bytes) -> bool:
        headers = [(b"host", b"app.test"), (b"origin", origin)]
        return Settings(cookie=cookie).may_use_cookie(Request("POST", headers, None, scheme))

    assert counts(b"https://app.test")
    assert not counts(b"http://app.test")


def test_a_site_without_tls_is_of_the_scheme_that_its_server_says() -> None:
    def counts(origin: bytes, scheme: str | None) -> bool:
        settings = Settings(cookie=Cookie(name="sid", secure=False))
        headers = [(b"host", b"app.test:8000"), (b"origin", origin)]
        return settings.may_use_cookie(Request("POST", headers, None, scheme))

    assert counts(b"http://app.test:8000", "http")
    assert counts(b"https://app.test:8000", "https")
    assert not counts(b"https://app.test:8000", "http")
    assert not counts(b"http://app.test:8000", None)


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("extra", "absent"),
    [
        ("starlette", ["starlette"]),
        ("fastapi", ["fastapi"]),
        ("fastapi", ["fastapi", "starlette"]),
        ("flask", ["flask"]),
        ("django", ["django"]),
        ("litestar", ["litestar"]),
    ],
    ids=str,
)
def test_an_integration_without_its_framework_says_which_extra_to_install(
    extra: str, absent: list[str]
) -> None:
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({absent!r}))\n"
        f"try: import sessionledger.integrations.{extra}\n"
        "except ImportError as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert f"pip install 'sessionledger[{extra}]'" in ran.stdout


def test_cookies_that_are_split_over_several_fields_count_as_one() -> None:
    mine = ("cookie", f"__Host-session={TOKEN}")
    split = [("cookie", "theme=dark"), mine, ("cookie", "lang=en")]
    planted = [mine, ("cookie", f"__Host-session={TOKEN[::-1]}")]
    for headers, token in ((split, TOKEN), (planted, None)):
        raw = [(name.encode(), value.encode()) for name, value in headers]
        request = Request("GET", raw, None, "https")
        assert credentials_of(request, Settings()).token == token
