"""The part of a store that integrations use, and a synchronous store in that role."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from sessionledger import IssuedSession, Session, SessionStore

T = TypeVar("T")


class Store(Protocol):
    """The part of an `AsyncSessionStore` that integrations use."""

    async def authenticate(
        self,
        token: str | None,
        *,
        max_auth_age: timedelta | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """As `AsyncSessionStore.authenticate`."""

    async def create(
        self,
        principal: str,
        *,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        reason: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> IssuedSession:
        """As `AsyncSessionStore.create`."""

    async def rotate(
        self,
        token: str | None = None,
        *,
        principal: str | None = None,
        grace: timedelta | None = None,
        reason: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> IssuedSession | None:
        """As `AsyncSessionStore.rotate`."""

    async def change_credentials(
        self,
        token: str | None = None,
        *,
        reason: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> IssuedSession | None:
        """As `AsyncSessionStore.change_credentials`."""

    async def log_out_everywhere(
        self,
        token: str,
        *,
        reason: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> int:
        """As `AsyncSessionStore.log_out_everywhere`."""

    async def expire(
        self,
        token: str,
        *,
        reason: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """As `AsyncSessionStore.expire`."""


class StoreInPlace:
    """A `SessionStore` with the calls of an asynchronous one."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def authenticate(self, token: str | None, **options: Any) -> Session | None:
        """As `Store.authenticate`."""
        return self._store.authenticate(token, **options)

    async def create(self, principal: str, **options: Any) -> IssuedSession:
        """As `Store.create`."""
        return self._store.create(principal, **options)

    async def rotate(self, token: str | None = None, **options: Any) -> IssuedSession | None:
        """As `Store.rotate`."""
        return self._store.rotate(token, **options)

    async def change_credentials(
        self, token: str | None = None, **options: Any
    ) -> IssuedSession | None:
        """As `Store.change_credentials`."""
        return self._store.change_credentials(token, **options)

    async def log_out_everywhere(self, token: str, **options: Any) -> int:
        """As `Store.log_out_everywhere`."""
        return self._store.log_out_everywhere(token, **options)

    async def expire(self, token: str, **options: Any) -> Session | None:
        """As `Store.expire`."""
        return self._store.expire(token, **options)


def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    raise AssertionError("a synchronous store suspended")
