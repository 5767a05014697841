"""Credentials of a request to the service, and the problems that are answered without good ones.

What is a token, and what the challenges say, stands in `web`; here is RFC 7617 besides, for OAuth's
clients.
"""

from __future__ import annotations

from base64 import b64decode
from urllib.parse import unquote

from sessionledger.server.http.problems import HTTPProblem
from sessionledger.web import challenges, credentials
from sessionledger.web.challenges import Denied
from sessionledger.web.credentials import Malformed, RawHeaders


def bearer_token(headers: RawHeaders, realm: str) -> str | None:
    """The token in `Authorization: Bearer`; None without one.

    Raises `HTTPProblem` for a malformed one.
    """
    try:
        return credentials.bearer_token(headers)
    except Malformed:
        raise _malformed(realm) from None


def basic_credentials(headers: RawHeaders, realm: str) -> tuple[str, str] | None:
    """The name and the secret in `Authorization: Basic`, as RFC 6749 encodes them; None without.

    Raises `HTTPProblem` for malformed ones.
    """
    try:
        found = credentials.authorization(headers)
        if found is None or found[0] != b"basic":
            return None
        name, colon, secret = b64decode(found[1], validate=True).decode("ascii").partition(":")
    except ValueError:
        raise _malformed(realm) from None
    if not colon:
        raise _malformed(realm)
    return unquote(name), unquote(secret)


def refused(denied: Denied, field: str | None = None) -> HTTPProblem:
    """The problem that says what is denied, with its challenge."""
    status, code, detail, challenge, _ = denied
    headers = {} if challenge is None else {"WWW-Authenticate": challenge}
    return HTTPProblem(status, code, detail, field=field, headers=headers)


def _malformed(realm: str) -> HTTPProblem:
    return refused(challenges.malformed(realm), "Authorization")
