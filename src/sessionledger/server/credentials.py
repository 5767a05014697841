"""Credentials of a request: what RFC 6750 and RFC 7617 say of them, and cookies.

Only what is malformed is told apart. Whatever has the form of a token is a token, and what it is
worth is for the ledger to say.
"""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import unquote

from sessionledger.server.asgi import RawHeaders
from sessionledger.server.problems import Refused

_B64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"


def bearer_token(headers: RawHeaders, realm: str) -> str | None:
    """The token in `Authorization: Bearer`; None without one. Raises `Refused` for a malformed."""
    found = _authorization(headers, realm)
    if found is None or found[0] != b"bearer":
        return None
    told = found[1].rstrip(b"=")
    # Without what may be in a token nothing is left of it.
    if not told or told.translate(None, _B64):
        raise malformed(realm)
    return found[1].decode("ascii")


def basic_credentials(headers: RawHeaders, realm: str) -> tuple[str, str] | None:
    """The name and the secret in `Authorization: Basic`, as RFC 6749 encodes them; None without.

    Raises `Refused` for malformed ones.
    """
    found = _authorization(headers, realm)
    if found is None or found[0] != b"basic":
        return None
    try:
        name, colon, secret = b64decode(found[1], validate=True).decode("ascii").partition(":")
    except ValueError:
        raise malformed(realm) from None
    if not colon:
        raise malformed(realm)
    return unquote(name), unquote(secret)


def cookie_token(headers: RawHeaders, cookie: str) -> str | None:
    """The value of a cookie; None where there is none, or several of that name."""
    wanted, found = cookie.encode("ascii"), []
    for name, value in headers:
        if name == b"cookie":
            pairs = (pair.strip(b" \t").partition(b"=") for pair in value.split(b";"))
            found += [told for called, _, told in pairs if called == wanted]
    return found[0].decode("latin-1") if len(found) == 1 else None


def missing(realm: str) -> Refused:
    """No credentials: a challenge without an error code (RFC 6750, section 3.1)."""
    challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
    return Refused(401, "unauthorized", "credentials are required", headers=challenge)


def refused_token(realm: str) -> Refused:
    """One answer for every token that is not good: unknown, expired and revoked alike."""
    return Refused(
        401,
        "invalid_token",
        "the token is not good",
        headers={"WWW-Authenticate": f'Bearer realm="{realm}", error="invalid_token"'},
    )


def malformed(realm: str) -> Refused:
    """The answer to an `Authorization` that can't be read."""
    return Refused(
        400,
        "invalid_request",
        "Authorization can't be read: it is one header, `Bearer` and a token",
        field="Authorization",
        headers={"WWW-Authenticate": f'Bearer realm="{realm}", error="invalid_request"'},
    )


def insufficient(realm: str, scope: str) -> Refused:
    """The answer to a good token that lacks a right."""
    challenge = f'Bearer realm="{realm}", error="insufficient_scope", scope="{scope}"'
    return Refused(
        403,
        "insufficient_scope",
        f"this takes the scope {scope}",
        headers={"WWW-Authenticate": challenge},
    )


def _authorization(headers: RawHeaders, realm: str) -> tuple[bytes, bytes] | None:
    """Scheme, in lower case, and what follows it. Raises `Refused` for more than one header."""
    found = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise malformed(realm)
            found = value
    if found is None:
        return None
    scheme, _, rest = found.strip(b" \t").partition(b" ")
    return scheme.lower(), rest.strip(b" ")
