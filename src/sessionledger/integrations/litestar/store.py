"""A store of the framework's own kind, for what the framework keeps by key."""

from __future__ import annotations

from datetime import timedelta
from math import inf

from litestar.stores.base import NamespacedStore

from sessionledger import AsyncKeyValueStore
from sessionledger.integrations.litestar.extension import Sessions, refused
from sessionledger.integrations.refusing import Refuse, answered


class LedgerStore(NamespacedStore):
    """A store of Litestar in the ledger: for server-side sessions, cached responses, rate limits.

    sessions: whose store keeps the values, while their lifespan lasts.
    """

    refuse: Refuse = staticmethod(refused)

    def __init__(self, sessions: Sessions, *, namespace: str = "litestar") -> None:
        self._sessions = sessions
        self.namespace = namespace

    def with_namespace(self, namespace: str) -> LedgerStore:
        """The store of a namespace within this one."""
        return LedgerStore(self._sessions, namespace=f"{self.namespace}/{namespace}")

    @property
    def _keys(self) -> AsyncKeyValueStore:
        return AsyncKeyValueStore(self._sessions.store, self.namespace)

    @answered
    async def set(
        self, key: str, value: str | bytes, expires_in: int | timedelta | None = None
    ) -> None:
        """Keep a value, for `expires_in` seconds if given. Zero deletes the key."""
        kept = value.encode() if isinstance(value, str) else value
        await self._keys.set(key, kept, ttl=expires_in)

    @answered
    async def get(self, key: str, renew_for: int | timedelta | None = None) -> bytes | None:
        """The value of a key, None if there is none. `renew_for` moves its end, if it has one."""
        return await self._keys.get(key, renew_for=renew_for or None)

    @answered
    async def delete(self, key: str) -> None:
        """Delete a key. One without a value is no error."""
        await self._keys.delete(key)

    @answered
    async def delete_all(self) -> None:
        """Delete all keys of the namespace, and of the namespaces within it."""
        await self._keys.delete_all()

    @answered
    async def exists(self, key: str) -> bool:
        """Whether a key has a value."""
        return await self._keys.exists(key)

    @answered
    async def expires_in(self, key: str) -> int | None:
        """In how many seconds a value ends. None if there is none, or if it has no end."""
        left = await self._keys.ttl(key)
        return None if left is None or left == inf else int(left)
