"""The request session for frameworks without an event loop: the same one, in plain calls.

A `SessionStore` never suspends, so neither do the coroutines that call it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from sessionledger import IssuedSession, Session, SessionStore
from sessionledger.integrations.request import Request
from sessionledger.integrations.request_session import Refuse, RequestSession
from sessionledger.integrations.requirements import A_SESSION, Requirements
from sessionledger.integrations.settings import Settings
from sessionledger.integrations.stores import StoreInPlace, complete


class SyncRequestSession:
    """One request, and what it may do with its session: `RequestSession`, in plain calls."""

    def __init__(
        self, store: SessionStore, request: Request, settings: Settings, refuse: Refuse
    ) -> None:
        self._request_session = RequestSession(StoreInPlace(store), request, settings, refuse)

    @property
    def set_cookie(self) -> str | None:
        """What the answer is to say to the browser."""
        return self._request_session.set_cookie

    def cache_headers(self, vary: Iterable[str], cache_control: Iterable[str]) -> dict[str, str]:
        """As `RequestSession.cache_headers`."""
        return self._request_session.cache_headers(vary, cache_control)

    def session(self) -> Session | None:
        """As `RequestSession.session`."""
        return complete(self._request_session.session())

    def required(self, requirements: Requirements = A_SESSION) -> Session:
        """As `RequestSession.required`."""
        return complete(self._request_session.required(requirements))

    def log_in(
        self,
        principal: str,
        *,
        ttl: timedelta | None = None,
        attributes: Mapping[str, Any] | None = None,
        external_id: str | None = None,
        reason: str | None = "logged in",
    ) -> IssuedSession:
        """As `RequestSession.log_in`."""
        return complete(
            self._request_session.log_in(
                principal, ttl=ttl, attributes=attributes, external_id=external_id, reason=reason
            )
        )

    def log_out(self, *, reason: str | None = "logged out") -> None:
        """As `RequestSession.log_out`."""
        complete(self._request_session.log_out(reason=reason))

    def rotate(
        self,
        *,
        principal: str | None = None,
        grace: timedelta | None = None,
        reason: str | None = "rotated",
    ) -> IssuedSession:
        """As `RequestSession.rotate`."""
        return complete(
            self._request_session.rotate(principal=principal, grace=grace, reason=reason)
        )

    def change_credentials(self, *, reason: str | None = "credentials changed") -> IssuedSession:
        """As `RequestSession.change_credentials`."""
        return complete(self._request_session.change_credentials(reason=reason))

    def log_out_everywhere(self, *, reason: str | None = "logged out everywhere") -> int:
        """As `RequestSession.log_out_everywhere`."""
        return complete(self._request_session.log_out_everywhere(reason=reason))
