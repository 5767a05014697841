"""What is needed of a store."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

from sessionledger import IssuedSession, Session


class Store(Protocol):
    """What of a store is needed here."""

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

    async def expire(
        self,
        token: str,
        *,
        reason: str | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """As `AsyncSessionStore.expire`."""
