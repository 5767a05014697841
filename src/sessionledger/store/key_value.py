"""Values by keys that the caller chooses: each key maps to a session of its own.

1. A key is hashed: it may be a secret, and of any length. Its session's principal is
   `key:<namespace>:<hash>`, so that no other key shares limits with it or makes it slower.
2. The external id of the session is the outermost namespace. By it one call finds all keys.
3. A key has one live session at most. `find_or_create` begins it, so `set` needs no lock.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from contextlib import suppress
from datetime import timedelta
from hashlib import sha256
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from sessionledger.core.families import named
from sessionledger.core.instant import NEVER
from sessionledger.core.lifetimes import LONGEST_TOUCH_INTERVAL, TOUCHES_IN_AN_IDLE_TIMEOUT
from sessionledger.core.session import IssuedSession, Session
from sessionledger.errors import InvalidSession, VersionConflict, WriteContention
from sessionledger.secrecy import without_locals, without_tokens
from sessionledger.store.aio.by_handle import ByHandle
from sessionledger.store.aio.by_token import ByToken
from sessionledger.store.engine import MAX_ATTEMPTS
from sessionledger.store.facade import Facade
from sessionledger.store.sync.store import SessionStore, in_place

if TYPE_CHECKING:  # the synchronous one needs no event loop
    from sessionledger.store.aio.store import AsyncSessionStore

Span: TypeAlias = timedelta | float

_NAMESPACE = re.compile(r"[\w.-]+(/[\w.-]+)*", re.ASCII)
_AT_ONCE = timedelta(0)


class _Calls(ByToken, ByHandle):
    """The calls of a store, as coroutines. Those of a synchronous store never suspend."""


class _Keys:
    """The keys of a namespace, and the sessions that they map to."""

    def __init__(self, store: Facade, namespace: str) -> None:
        if not _NAMESPACE.fullmatch(namespace):
            raise InvalidSession("namespace", f"takes A-Z a-z 0-9 _ . - and /, got {namespace!r}")
        # Of either colour: only called as `_Calls.name(self._store, …)`.
        self._store = cast(_Calls, store)
        self._namespace = f"key:{namespace}"
        self._outermost = self._namespace.partition("/")[0]

    def _principal(self, key: object) -> str:
        if not isinstance(key, str):
            raise InvalidSession("key", f"must be text, not {type(key).__name__}")
        return f"{self._namespace}:{sha256(key.encode(errors='surrogatepass')).hexdigest()}"

    async def _find(self, key: str) -> tuple[Session, timedelta] | None:
        """The live session of a key, and how long it still lives."""
        listing = _Calls.sessions(self._store, principal=self._principal(key))
        now = self._store._engine.clock()  # noqa: SLF001
        found = named([one async for one in listing], self._outermost, now)
        return None if found is None else (found, found.expires_at - now)


class AsyncKeyValueStore(_Keys):
    """Bytes by keys that you choose, each kept as a session of a store.

    namespace: keeps the keys of several uses apart; `/` divides outer from inner ones. A `ttl` is
    a timedelta or a number of seconds. Without one a value stays until it is deleted. The timeouts
    and limits of the store's policy hold: give values a store with a topic and a policy of its own.
    """

    def __init__(self, store: AsyncSessionStore, namespace: str = "default") -> None:
        super().__init__(store, namespace)

    @without_locals
    async def set(self, key: str, value: bytes, *, ttl: Span | None = None) -> None:
        """Keep a value under a key, in place of any that is there, for `ttl` from now.

        A `ttl` of zero deletes the key. Raises `InvalidSession`.
        """
        principal, attributes, end = self._principal(key), _attributes(value), _end(ttl)
        if end.get("ttl") == _AT_ONCE:
            await _Calls.revoke_all(self._store, principal)
            return
        for _ in range(MAX_ATTEMPTS):
            found = await _Calls.find_or_create(
                self._store, principal, external_id=self._outermost, attributes=attributes, **end
            )
            if isinstance(found, IssuedSession) or await _Calls.patch(
                self._store, changes=attributes, handle=found.handle, **end
            ):
                return
        raise WriteContention("others kept deleting the key while it was set: try again")

    @without_locals
    async def get(self, key: str, *, renew_for: Span | None = None) -> bytes | None:
        """The value of a key, None if there is none.

        With `renew_for` a value that has an end ends so long from now. A renewal is written only
        once a tenth of that time has passed since the last one, or ten minutes.
        """
        found = await self._find(key)
        if found is None:
            return None
        session, left = found
        if renew_for is not None and session.expires_at != NEVER:
            end = {"handle": session.handle, "if_version": session.version, **_end(renew_for)}
            span = end.get("ttl", timedelta.max)
            due = min(span / TOUCHES_IN_AN_IDLE_TIMEOUT, LONGEST_TOUCH_INTERVAL)
            if not _AT_ONCE <= span - left < due:
                with suppress(VersionConflict):  # a write since the read says its own end
                    await _Calls.patch(self._store, changes={}, **end)
        return _value(session)

    @without_locals
    async def delete(self, key: str) -> None:
        """End the session of a key. A key without a value is no error."""
        await _Calls.revoke_all(self._store, self._principal(key))

    async def delete_all(self) -> None:
        """Delete all keys of the namespace, and of the namespaces within it."""
        if self._namespace == self._outermost:
            await _Calls.revoke_all(self._store, external_id=self._outermost)
            return
        within = (f"{self._namespace}:", f"{self._namespace}/")
        async for session in _Calls.sessions(self._store, external_id=self._outermost):
            if session.principal.startswith(within):
                await _Calls.revoke(self._store, handle=session.handle)

    @without_locals
    async def exists(self, key: str) -> bool:
        """Whether a key has a value. Nothing is renewed."""
        return await self._find(key) is not None

    @without_locals
    async def ttl(self, key: str) -> float | None:
        """For how many seconds a key still has its value, None if it has none.

        `math.inf` for a value without an end.
        """
        found = await self._find(key)
        if found is None:
            return None
        return inf if found[0].expires_at == NEVER else found[1].total_seconds()


class KeyValueStore(_Keys):
    """`AsyncKeyValueStore` in plain calls."""

    def __init__(self, store: SessionStore, namespace: str = "default") -> None:
        super().__init__(store, namespace)

    set = in_place(AsyncKeyValueStore.set)
    get = in_place(AsyncKeyValueStore.get)
    delete = in_place(AsyncKeyValueStore.delete)
    delete_all = in_place(AsyncKeyValueStore.delete_all)
    exists = in_place(AsyncKeyValueStore.exists)
    ttl = in_place(AsyncKeyValueStore.ttl)


def _attributes(value: object) -> dict[str, Any]:
    """A value as attributes: UTF-8 as text, which a history can show, or else as base64."""
    if not isinstance(value, bytes):
        raise InvalidSession("value", f"must be bytes, not {type(value).__name__}")
    text = value.decode("latin-1")
    if without_tokens(text) != text:
        raise InvalidSession("value", "must not hold a token, which is never stored")
    try:
        return {"value": value.decode()}
    except UnicodeDecodeError:
        return {"value": {"base64": b64encode(value).decode()}}


def _value(session: Session) -> bytes:
    kept = session.attributes["value"]
    return kept.encode() if isinstance(kept, str) else b64decode(kept["base64"])


def _end(ttl: Span | None) -> dict[str, Any]:
    """When a value ends, as the calls of a store take it. Raises `InvalidSession`."""
    if ttl is None or ttl == inf:
        return {"expires_at": NEVER}
    try:
        return {"ttl": ttl if isinstance(ttl, timedelta) else timedelta(seconds=ttl)}
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidSession("ttl", f"must be a timedelta or a number of seconds, got {ttl!r}")
