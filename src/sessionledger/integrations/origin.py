"""Did the application's own pages send this request? The rule against forged requests (CSRF).

A browser sends cookies by itself, whoever made it send the request. So a cookie counts only:

1. with a method that changes nothing (RFC 9110, section 9.2.1); a WebSocket is none of these,
2. or with an `Origin` that the settings trust,
3. or where `Sec-Fetch-Site` says `same-origin`,
4. or, from browsers that don't send that, where `Origin` names the `Host` that was asked.

Nothing else does, and not a request that says neither. No script and no form can set these headers.
"""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import urlsplit

from sessionledger.web.credentials import RawHeaders

SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))


def is_own(method: str, headers: RawHeaders, trusted: Collection[str]) -> bool:
    """Whether a cookie that comes with this request may count."""
    if method in SAFE:
        return True
    told = list(headers)
    origins, sites = _values(told, b"origin"), _values(told, b"sec-fetch-site")
    if len(origins) == 1 and origins[0] in trusted:
        return True
    if sites:
        return sites == ["same-origin"]
    hosts = _values(told, b"host")
    return len(origins) == len(hosts) == 1 and _host_of(origins[0]) == hosts[0].lower() != ""


def is_origin(text: str) -> bool:
    """Whether it is an origin as browsers send it: a scheme and a host, and nothing after."""
    parts = urlsplit(text)
    return parts.scheme in ("http", "https") and text == f"{parts.scheme}://{parts.netloc}".lower()


def _host_of(origin: str) -> str:
    """The host and port of an origin; nothing of what is none."""
    return urlsplit(origin).netloc.lower() if is_origin(origin) else ""


def _values(headers: RawHeaders, wanted: bytes) -> list[str]:
    return [value.decode("latin-1") for name, value in headers if name == wanted]
