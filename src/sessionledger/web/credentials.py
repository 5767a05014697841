"""Credentials of a request: what RFC 6750 says of them, and cookies.

Only what is malformed is told apart. Whatever has the form of a token is a token, and what it is
worth is for the ledger to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TypeAlias

RawHeaders: TypeAlias = Iterable[tuple[bytes, bytes]]
"""Headers as ASGI has them: names in lower case."""

_B64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
_COOKIE = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)


class Malformed(ValueError):
    """An `Authorization` that can't be read."""


def authorization(headers: RawHeaders) -> tuple[bytes, bytes] | None:
    """Scheme, in lower case, and what follows it. Raises `Malformed` for more than one header."""
    found = [value for name, value in headers if name == b"authorization"]
    if not found:
        return None
    if len(found) > 1:
        raise Malformed
    scheme, _, rest = found[0].strip(b" \t").partition(b" ")
    return scheme.lower(), rest.strip(b" ")


def bearer_token(headers: RawHeaders) -> str | None:
    """The token in `Authorization: Bearer`; None without one. Raises `Malformed`."""
    found = authorization(headers)
    if found is None or found[0] != b"bearer":
        return None
    told = found[1].rstrip(b"=")
    # Without what may be in a token nothing is left of it.
    if not told or told.translate(None, _B64):
        raise Malformed
    return found[1].decode("ascii")


def cookie_token(headers: RawHeaders, cookie: str) -> str | None:
    """The value of a cookie; None where there is none, or several of that name."""
    wanted, found = cookie.encode("ascii"), []
    for name, value in headers:
        if name == b"cookie":
            pairs = (pair.strip(b" \t").partition(b"=") for pair in value.split(b";"))
            found += [told for called, _, told in pairs if called == wanted]
    return found[0].decode("latin-1") if len(found) == 1 else None


def is_cookie_name(name: str) -> bool:
    """Whether a cookie can be called that (RFC 6265, section 4.1.1)."""
    return _COOKIE.fullmatch(name) is not None
