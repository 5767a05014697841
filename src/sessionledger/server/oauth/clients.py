"""The clients of the OAuth endpoints: an admin key, as a bearer or as a client's secret.

Errors are those of RFC 6749, section 5.2, and RFC 6750. Each client gets the challenge of the kind
of credentials that it sent.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from sessionledger.server.auth.credentials import basic_credentials, bearer_token, refused
from sessionledger.server.fast_path import EndpointRequest, Projection
from sessionledger.server.http.asgi import NO_STORE, Headers, PlainResponse
from sessionledger.server.http.problems import HTTPProblem, invalid
from sessionledger.server.service.keys import Key, key_of
from sessionledger.server.service.limits import RequestCount
from sessionledger.server.service.service import Service
from sessionledger.web import challenges

_CONTENT_TYPE = (b"content-type", b"application/json")
JSON = Headers(_CONTENT_TYPE, NO_STORE)

_KEY = Projection(key_of)

# Our codes that OAuth lacks, and its nearest ones.
_OAUTH_CODES = {
    "unauthorized": "invalid_client",
    "too_large": "invalid_request",
    "too_many_requests": "temporarily_unavailable",
    "too_slow": "invalid_request",
    "unsupported_media_type": "invalid_request",
    "method_not_allowed": "invalid_request",
    "internal_error": "server_error",
}


async def authenticate_client(
    service: Service,
    request: EndpointRequest,
    count: RequestCount,
    form: Mapping[str, str],
    scope: str,
) -> Key:
    """The admin key that a request was made with. Raises `HTTPProblem`."""
    realm, keys = service.settings.realm, service.ledger.keys
    name, secret = _credentials(request, form, realm)
    session = keys.peek(secret) or await request.authenticate(keys, secret)
    key = None if session is None else _KEY.of(session)
    if key is None or name not in (None, key.name):
        raise _refused(name, realm)
    count.take_key(key, scope)
    if scope not in key.scopes:
        raise refused(challenges.insufficient(realm, scope))
    return key


def _credentials(
    request: EndpointRequest, form: Mapping[str, str], realm: str
) -> tuple[str | None, str]:
    """The name and the token of a key, in the one way that a client uses (RFC 6749, section 2.3).

    A bearer has no name. Others send both in `Authorization: Basic`, or in the form.
    """
    token = bearer_token(request.headers, realm)
    given = (None, token) if token is not None else basic_credentials(request.headers, realm)
    secret = form.get("client_secret")
    if secret is None and given is None:
        raise _challenge(f'Bearer realm="{realm}", Basic realm="{realm}"')
    if secret is None or given is not None:
        if secret is not None:
            raise invalid("client_secret", "is there beside Authorization: send one of them")
        assert given is not None
        return given
    if "client_id" not in form:
        raise invalid("client_id", "is required beside client_secret: the name of the key")
    return form["client_id"], secret


def _refused(name: str | None, realm: str) -> HTTPProblem:
    """The answer to a key that is not good, by the kind of credentials."""
    if name is None:
        return refused(challenges.refused_token(realm))
    return _challenge(f'Basic realm="{realm}"')


def _challenge(challenge: str) -> HTTPProblem:
    return HTTPProblem(
        401,
        "unauthorized",
        "the client has to authenticate with an admin key",
        headers={"WWW-Authenticate": challenge},
    )


def oauth_error(error: HTTPProblem) -> PlainResponse:
    """The error in the form of RFC 6749, section 5.2."""
    problem = error.problem
    code = _OAUTH_CODES.get(problem.code, problem.code)
    body = msgspec.json.encode({"error": code, "error_description": problem.detail})
    headers = [(name.lower().encode(), text.encode()) for name, text in error.headers.items()]
    return PlainResponse(problem.status, Headers(_CONTENT_TYPE, NO_STORE, *headers), body)
