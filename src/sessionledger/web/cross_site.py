"""Whether a cookie counts: the rule against forged requests (CSRF).

A browser sends cookies by itself, whoever made it send the request. So a cookie counts only

1. with a method that changes nothing (RFC 9110, section 9.2.1), unless it opens a WebSocket,
2. or with an `Origin` that the settings trust,
3. or where `Sec-Fetch-Site` says `same-origin`,
4. or, from browsers that don't send that, where `Origin` is the origin of the site itself.

Method and origin are those of the browser's request, whatever a proxy made of it. A method that
nobody tells is not rule 1's. No script and no form of another site can set the two headers, nor
those by which a proxy hands over a request that it asks about.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv6Address
from typing import NamedTuple

from sessionledger.web.challenges import Denied
from sessionledger.web.credentials import RawHeaders

SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
CROSS_SITE = Denied(
    403,
    "cross_site",
    "this request comes from no page of this site; a client that is no browser sends its token as "
    "Authorization: Bearer, or else Sec-Fetch-Site: same-origin",
)

_ORIGIN = re.compile(
    r"(?P<scheme>https?)://(?:(?P<name>[a-z0-9._-]+)|\[(?P<ipv6>[0-9a-f:.]+)\])(?::(?P<port>\d{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}
_WEBSOCKET = (b"sec-websocket-key", b"sec-websocket-version")
_METHODS = (b"x-original-method", b"x-forwarded-method")
_SCHEMES = {"https": "https", "wss": "https", "http": "http", "ws": "http"}
_ONLY_OVER_TLS = ("__host-", "__secure-")


class Origin(NamedTuple):
    """Scheme, host and port (RFC 6454): equal however they were written."""

    scheme: str
    host: str
    port: int


@lru_cache(maxsize=256)
def parse_origin(text: str) -> Origin | None:
    """The origin that a text such as `https://app.example.org` writes; None for any other text."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    scheme, host = found["scheme"].lower(), (found["name"] or "").lower()
    if found["ipv6"] is not None:
        try:
            host = f"[{IPv6Address(found['ipv6'])}]"
        except ValueError:
            return None
    port = _DEFAULT_PORTS[scheme] if found["port"] is None else int(found["port"])
    return Origin(scheme, host, port)


def is_origin(text: object) -> bool:
    """Whether it is an origin that settings may trust."""
    return isinstance(text, str) and parse_origin(text) is not None


def site_of(scheme: str | None, headers: RawHeaders, *, secure_cookie: bool) -> Origin | None:
    """The origin of the site that a browser asked, by scheme and `Host`; None where it is unclear.

    Browsers send a `Secure` cookie over TLS alone, so a site with one is https whatever its server
    believes.
    """
    hosts = _values(headers, b"host")
    if len(hosts) != 1 or (scheme is None and not secure_cookie):
        return None
    return parse_origin(f"{'https' if secure_cookie else scheme}://{hosts[0]}")


def handed_over_method(told: str | None, headers: RawHeaders) -> str | None:
    """The browser's method, the least safe of those that are told; None where nobody told one.

    told: the method that the proxy asks with, where that is the browser's own.
    """
    methods = [value.decode("latin-1") for name, value in headers if name in _METHODS]
    methods += [] if told is None else [told]
    return min(methods, key=SAFE_METHODS.__contains__, default=None)


def handed_over_site(headers: RawHeaders, cookie: str) -> Origin | None:
    """The site that the browser asked, as the proxy hands it over; None where it is unclear."""
    schemes = _values(headers, b"x-forwarded-proto")
    scheme = _SCHEMES.get(schemes[0]) if len(schemes) == 1 else None
    hosts = [(b"host", value) for name, value in headers if name == b"x-forwarded-host"]
    secure = cookie.lower().startswith(_ONLY_OVER_TLS)
    return site_of(scheme, hosts or headers, secure_cookie=secure)


def may_use_cookie(
    method: str | None, site: Origin | None, headers: RawHeaders, trusted: Collection[str]
) -> bool:
    """Whether a cookie that came with this request counts."""
    told = list(headers)
    if method in SAFE_METHODS and not any(name in _WEBSOCKET for name, _ in told):
        return True
    return is_from_own_page(site, told, trusted)


def is_from_own_page(site: Origin | None, headers: RawHeaders, trusted: Collection[str]) -> bool:
    """Whether the request says, as only browsers do, that a page of this site sent it."""
    told = list(headers)
    origins, sites = _values(told, b"origin"), _values(told, b"sec-fetch-site")
    origin = parse_origin(origins[0]) if len(origins) == 1 else None
    if origin is not None and any(origin == parse_origin(one) for one in trusted):
        return True
    if sites:
        return sites == ["same-origin"]
    return origin is not None and origin == site


def _values(headers: RawHeaders, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]
