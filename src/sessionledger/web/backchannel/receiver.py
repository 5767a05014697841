"""A request of an identity provider, and its answer (sections 2.5 to 2.8).

1. The token holds, and was not used before. Its sessions end. Then the ledger records its `jti` for
   all processes, until the token is too old to be accepted.
2. The end comes first: if the ledger fails in between, the provider may send the token again.
3. With a `sid` the sessions of that external id end, and otherwise all of the principal.
4. The answer is 200, or 400 with an error as in RFC 6749, section 5.2.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from hashlib import sha256
from inspect import isawaitable
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qs

import msgspec

from sessionledger import AsyncSessionStore, DuplicateSession, SessionLedgerError
from sessionledger.core.token import GeneratedToken
from sessionledger.web.backchannel import logout_token
from sessionledger.web.backchannel.keys import KeySource, KeysUnavailable
from sessionledger.web.backchannel.logout_token import LogoutToken, Refused, UnknownKey

REPLAYS_TOPIC = "sessionledger.replays"
REASON = "back-channel logout"
KEPT = timedelta(seconds=logout_token.MAX_AGE_SECONDS + 2 * logout_token.LEEWAY_SECONDS)
FORM = "application/x-www-form-urlencoded"
MAX_BODY_BYTES = 32 * 1024

PrincipalOf: TypeAlias = Callable[[str], str | Awaitable[str | None] | None]
"""The principal of a `sub`; None if the application has nobody of that name."""
Answer: TypeAlias = tuple[int, dict[str, str], bytes]
"""Status, headers and body."""

_LOG = logging.getLogger("sessionledger.backchannel")
# A provider that does not tell its keys keeps these, and none that others wait for.
_threads = ThreadPoolExecutor(4, "sessionledger-logout")


class Provider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who sends logout tokens, and what they end. Raises `ValueError`.

    issuer: its `iss`. audiences: the client ids of the application. algorithms: those that it signs
    ID tokens with. jwks, networks: where its keys are, as `KeySource` takes them.
    external_id: of the sessions of a `sid`, which stands for `{sid}`; None if they have none.
    principal: of a `sub`, likewise; None to refuse a token without a `sid`.
    explicit_type: refuse a token whose header `typ` is not `logout+jwt`.
    """

    issuer: str
    audiences: tuple[str, ...]
    jwks: str
    networks: tuple[str, ...] = ()
    algorithms: tuple[str, ...] = ("RS256",)
    external_id: str | None = "{sid}"
    principal: str | None = None
    explicit_type: bool = False

    def __post_init__(self) -> None:
        if not self.algorithms or not {*self.algorithms} <= logout_token.ALGORITHMS:
            raise ValueError(f"algorithms must be of {sorted(logout_token.ALGORITHMS)}")
        for name, text in (("{sid}", self.external_id), ("{sub}", self.principal)):
            if text is not None and name not in text:
                raise ValueError(f"external_id must have {{sid}} in it, principal {{sub}}: {text}")


class LogoutReceiver:
    """Ends the sessions that a provider's logout tokens name.

    principal_of: in the place of the provider's `principal`.
    """

    def __init__(self, provider: Provider, principal_of: PrincipalOf | None = None) -> None:
        self._provider, self._principal_of = provider, principal_of
        self._keys = KeySource(provider.jwks, provider.networks)

    async def receive(
        self, store: AsyncSessionStore, kind: str | None, body: bytes, *, in_place: bool = False
    ) -> Answer:
        """Carry out a request. kind: its `Content-Type`. in_place: the store never suspends."""
        try:
            verify = partial(self._verified, kind, body)
            loop = None if in_place else asyncio.get_running_loop()
            token = verify() if loop is None else await loop.run_in_executor(_threads, verify)
            await self._end_once(store, token)
        except Refused as refused:
            return _refusal("invalid_request", refused)
        except (KeysUnavailable, SessionLedgerError) as failure:
            return _refusal("temporarily_unavailable", failure)
        return 200, {"Cache-Control": "no-store"}, b""

    def _verified(self, kind: str | None, body: bytes) -> LogoutToken:
        provider, text = self._provider, _logout_token_in(kind, body)
        how = provider.algorithms, provider.explicit_type
        try:
            token = logout_token.decode(text, self._keys.known(), *how)
        except UnknownKey:
            token = logout_token.decode(text, self._keys.known(is_fresh=True), *how)
        token.check(provider.issuer, provider.audiences, time.time())
        return token

    async def _end_once(self, store: AsyncSessionStore, token: LogoutToken) -> None:
        name = GeneratedToken(sha256(f"{token.iss}\n{token.jti}".encode()).hexdigest())
        replays = store.on_topic(REPLAYS_TOPIC)
        try:
            if await replays.get(name) is not None:
                raise Refused("it was used before")
            principal, external_id = await self._named(token)
            if principal is not None or external_id is not None:
                await store.revoke_all(
                    principal, external_id=external_id, reason=REASON, actor=token.iss
                )
            await replays.create(REASON, token=name, ttl=KEPT)
        except DuplicateSession:
            raise Refused("it was used before") from None
        finally:
            await replays.close()

    async def _named(self, token: LogoutToken) -> tuple[str | None, str | None]:
        """The principal or the external id of the sessions that end; neither for nobody's."""
        provider = self._provider
        if token.sid and provider.external_id is not None:
            return None, provider.external_id.replace("{sid}", token.sid)
        if token.sub and self._principal_of is not None:
            found = self._principal_of(token.sub)
            return (await found if isawaitable(found) else found), None
        if token.sub and provider.principal is not None:
            return provider.principal.replace("{sub}", token.sub), None
        raise Refused("no session is known by what it names")


def receiver_in(path: str) -> LogoutReceiver:
    """What receives for the provider in a file of JSON. Raises `ValueError` and `OSError`."""
    return LogoutReceiver(msgspec.json.decode(Path(path).read_bytes(), type=Provider))


class LogoutApplication:
    """An ASGI application, for a route that takes `POST`. store: told at each request."""

    def __init__(self, receiver: LogoutReceiver, store: Callable[[], AsyncSessionStore]) -> None:
        self._receiver, self._store = receiver, store

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request."""
        body, is_more = b"", scope["method"] == "POST"
        while is_more and len(body) <= MAX_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            is_more = message.get("more_body", False)
        kind = dict(scope["headers"]).get(b"content-type", b"").decode("latin-1")
        status, headers, content = await self._receiver.receive(self._store(), kind, body)
        told = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": status, "headers": told})
        await send({"type": "http.response.body", "body": content})


def _logout_token_in(kind: str | None, body: bytes) -> str:
    """The token in a form, which is there once. Other parameters are ignored."""
    try:
        form = parse_qs(body.decode("ascii"), max_num_fields=100)
    except ValueError:
        form = {}
    tokens = form.get("logout_token", [])
    is_form = (kind or "").partition(";")[0].strip().lower() == FORM
    if not is_form or len(body) > MAX_BODY_BYTES or len(tokens) != 1:
        raise Refused(f"it must be in a form of {MAX_BODY_BYTES} bytes at most, once")
    return tokens[0]


def _refusal(code: str, error: Exception) -> Answer:
    """The answer to a request that ended nobody. What failed here is for the log alone."""
    _LOG.warning("a logout token ended nobody: %s", error)
    told = {"error": code}
    if isinstance(error, Refused):
        told["error_description"] = str(error)
    headers = {"Cache-Control": "no-store", "Content-Type": "application/json"}
    return 400, headers, msgspec.json.encode(told)
