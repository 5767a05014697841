"""The rule by which a cookie counts, by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.web.cross_site import (
    SAFE_METHODS,
    Origin,
    is_from_own_page,
    may_use_cookie,
    parse_origin,
    site_of,
)

SITE = Origin("https", "app.test", 443)
Headers = list[tuple[bytes, bytes]]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "QUERY", "CONNECT", "get", "", None])
def test_any_method_but_the_safe_ones_has_to_say_where_it_comes_from(method: str | None) -> None:
    assert not may_use_cookie(method, SITE, [], ())
    assert may_use_cookie(method, SITE, [(b"sec-fetch-site", b"same-origin")], ())


@pytest.mark.parametrize("method", sorted(SAFE_METHODS))
def test_a_safe_method_needs_not_unless_it_opens_a_websocket(method: str) -> None:
    evil = (b"origin", b"https://evil.test")
    assert may_use_cookie(method, SITE, [evil], ())
    assert not may_use_cookie(method, SITE, [evil, (b"sec-websocket-key", b"x")], ())
    assert not may_use_cookie(method, SITE, [evil, (b"sec-websocket-version", b"13")], ())
    assert may_use_cookie(
        method, SITE, [(b"origin", b"https://app.test"), (b"sec-websocket-key", b"x")], ()
    )


@pytest.mark.parametrize(
    "headers",
    [
        [(b"sec-fetch-site", b"same-origin"), (b"sec-fetch-site", b"cross-site")],
        [(b"sec-fetch-site", b"same-origin, cross-site")],
        [(b"sec-fetch-site", b"Same-Origin")],
        [(b"sec-fetch-site", b"")],
        [(b"origin", b"https://app.test"), (b"origin", b"https://evil.test")],
        [(b"origin", b"https://app.test")] * 2,
        [(b"origin", b"")],
        [(b"origin", b"app.test")],
        [(b"origin", b"https://app.test/x")],
        [(b"origin", b"https://app.test/")],
        [(b"origin", b"https://x@app.test")],
        [(b"origin", b"https://app.test?x")],
        [(b"origin", b"https://app.test#")],
        [(b"origin", b"https://app.test:")],
        [(b"origin", b"https://app.test\\@evil.test")],
        [(b"origin", b" https://app.test")],
        [(b"origin", b"https://app.test.")],
        [(b"origin", "https://app.test\u00a0".encode("latin-1"))],
        [(b"origin", b"wss://app.test")],
        [(b"origin", b"null")],
    ],
)
def test_headers_that_say_anything_else_say_nothing(headers: Headers) -> None:
    assert not is_from_own_page(SITE, headers, ())


@pytest.mark.parametrize(
    "headers",
    [[], [(b"host", b"app.test")] * 2, [(b"host", b"")], [(b"host", b"x@app.test")]],
)
def test_a_site_that_is_unclear_is_no_site(headers: Headers) -> None:
    site = site_of("https", headers, secure_cookie=True)
    assert site is None
    assert not is_from_own_page(site, [(b"origin", b"https://app.test")], ())
    assert not is_from_own_page(site, [(b"origin", b"null")], ())


SPELLINGS = {
    "https://a.test": [
        "HTTPS://a.test",
        "https://A.TEST",
        "https://a.test:443",
        "https://a.test:0443",
    ],
    "http://a.test": ["http://a.test:80"],
    "http://a.test:8000": ["http://A.test:08000"],
    "https://[2001:db8::1]": ["https://[2001:DB8:0:0::1]:443", "https://[2001:0db8::0001]"],
}


@pytest.mark.parametrize("origin", SPELLINGS)
def test_an_origin_is_compared_by_what_it_is_and_not_by_its_spelling(origin: str) -> None:
    wanted = parse_origin(origin)
    assert wanted is not None
    for spelling in SPELLINGS[origin]:
        assert parse_origin(spelling) == wanted
        assert is_from_own_page(wanted, [(b"origin", spelling.encode())], ())
        assert is_from_own_page(None, [(b"origin", origin.encode())], (spelling,))
        assert is_from_own_page(None, [(b"origin", spelling.encode())], (origin,))


def test_origins_that_differ_in_anything_are_two() -> None:
    differ = ["https://a.test", "http://a.test", "https://a.test:80", "http://a.test:443"]
    differ += ["https://b.a.test", "https://[::1]", "https://[::2]", "http://[::1]"]
    assert len({parse_origin(one) for one in differ}) == len(differ)


@given(st.text() | st.text(alphabet="https:/[].@#?0az-", max_size=30).map("https://a".__add__))
def test_no_text_is_an_error(text: str) -> None:
    origin = parse_origin(text)
    if origin is not None:
        assert parse_origin(f"{origin.scheme}://{origin.host}:{origin.port}") == origin
