"""Who may introspect and revoke: an admin key, as a bearer or as an OAuth client's password.

Errors are those of RFC 6749, section 5.2, and RFC 6750: a client of either kind of credentials
gets the challenge of its kind.
"""

from __future__ import annotations

import msgspec

from sessionledger.server.auth.credentials import (
    basic_credentials,
    bearer_token,
    insufficient,
    refused_token,
)
from sessionledger.server.fast_path import Answer, Call, Headers
from sessionledger.server.http.problems import Refused
from sessionledger.server.service.keys import KEY, Key, is_below_live
from sessionledger.server.service.service import Service

_NO_STORE = (b"cache-control", b"no-store")
_JSON = (b"content-type", b"application/json")
NO_STORE = Headers(_NO_STORE)
JSON = Headers(_JSON, _NO_STORE)

# Codes that OAuth does not have, as those it has.
_OAUTH = {
    "unauthorized": "invalid_client",
    "too_large": "invalid_request",
    "too_slow": "invalid_request",
    "unsupported_media_type": "invalid_request",
    "method_not_allowed": "invalid_request",
    "internal_error": "server_error",
}


async def authenticate_client(service: Service, call: Call, needed: str) -> Key:
    """The key that a request to an endpoint of OAuth was made with. Raises `Refused`."""
    realm, keys = service.settings.realm, service.ledger.keys
    name, secret = None, bearer_token(call.headers, realm)
    if secret is None:
        name, secret = _password(call, realm)
    key = await call.authenticate(keys, secret, KEY)
    if key is None or name not in (None, key.name):
        raise _refused(name, realm)
    if key.above and not await is_below_live(keys, key):
        raise _refused(name, realm)
    if needed not in key.scopes:
        raise insufficient(realm, needed)
    call.caller = key
    return key


def _password(call: Call, realm: str) -> tuple[str, str]:
    """A client by name and secret: the name and the token of a key (RFC 6749, section 2.3.1)."""
    given = basic_credentials(call.headers, realm)
    if given is None:
        raise _challenge(f'Bearer realm="{realm}", Basic realm="{realm}"')
    return given


def _refused(name: str | None, realm: str) -> Refused:
    """The answer to a key that is not good, to a client of either kind."""
    return refused_token(realm) if name is None else _challenge(f'Basic realm="{realm}"')


def _challenge(challenge: str) -> Refused:
    return Refused(
        401,
        "unauthorized",
        "the client is to authenticate with an admin key",
        headers={"WWW-Authenticate": challenge},
    )


def error_answer(refused: Refused) -> Answer:
    """The error as RFC 6749, section 5.2, writes one."""
    problem = refused.problem
    told = {"error": _OAUTH.get(problem.code, problem.code), "error_description": problem.detail}
    headers = [(name.lower().encode(), text.encode()) for name, text in refused.headers.items()]
    return Answer(problem.status, Headers(_JSON, _NO_STORE, *headers), msgspec.json.encode(told))


def only_post(call: Call) -> None:
    """Raises `Refused` for another method."""
    if call.method != "POST":
        raise Refused(405, "method_not_allowed", "it takes POST", headers={"Allow": "POST"})
