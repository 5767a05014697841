"""A visit without an event loop: the same one, over a store that answers in place.

A `SessionStore` does not suspend whoever calls it, so neither do the coroutines that do.
"""

from __future__ import annotations

from collections.abc import Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeVar

from sessionledger import IssuedSession, Session, SessionStore
from sessionledger.integrations.request import Request
from sessionledger.integrations.request_session import Refuse, Visit
from sessionledger.integrations.requirements import A_SESSION, Needs
from sessionledger.integrations.settings import Settings

T = TypeVar("T")


class InPlace:
    """A `SessionStore` with the calls of an asynchronous one."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store

    async def authenticate(self, token: str | None, **told: Any) -> Session | None:
        """As `Store.authenticate`."""
        return self._store.authenticate(token, **told)

    async def create(self, principal: str, **told: Any) -> IssuedSession:
        """As `Store.create`."""
        return self._store.create(principal, **told)

    async def rotate(self, token: str | None = None, **told: Any) -> IssuedSession | None:
        """As `Store.rotate`."""
        return self._store.rotate(token, **told)

    async def expire(self, token: str, **told: Any) -> Session | None:
        """As `Store.expire`."""
        return self._store.expire(token, **told)


def at_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine over a store that answers in place."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    raise AssertionError("a synchronous store suspended")


class BlockingVisit:
    """One request, and what it may do with its session: `Visit`, in plain calls."""

    def __init__(
        self, store: SessionStore, request: Request, settings: Settings, refuse: Refuse
    ) -> None:
        self._visit = Visit(InPlace(store), request, settings, refuse)

    @property
    def set_cookie(self) -> str | None:
        """What the answer is to say to the browser."""
        return self._visit.set_cookie

    def cache_headers(self, vary: Iterable[str], cache_control: Iterable[str]) -> dict[str, str]:
        """As `Visit.cache_headers`."""
        return self._visit.cache_headers(vary, cache_control)

    def session(self) -> Session | None:
        """As `Visit.session`."""
        return at_once(self._visit.session())

    def required(self, needs: Needs = A_SESSION) -> Session:
        """As `Visit.required`."""
        return at_once(self._visit.required(needs))

    def log_in(
        self,
        principal: str,
        *,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        reason: str | None = "logged in",
    ) -> IssuedSession:
        """As `Visit.log_in`."""
        return at_once(
            self._visit.log_in(
                principal, ttl=ttl, attributes=attributes, external_id=external_id, reason=reason
            )
        )

    def log_out(self, *, reason: str | None = "logged out") -> None:
        """As `Visit.log_out`."""
        at_once(self._visit.log_out(reason=reason))

    def rotate(
        self,
        *,
        principal: str | None = None,
        grace: timedelta | None = None,
        reason: str | None = "rotated",
    ) -> IssuedSession:
        """As `Visit.rotate`."""
        return at_once(self._visit.rotate(principal=principal, grace=grace, reason=reason))
