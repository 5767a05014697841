"""Limits: requests in a minute of one key, principal or address; writes; streams at a time."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

from sessionledger import Session
from sessionledger.server.http.asgi import Header
from sessionledger.server.http.client_address import ClientAddresses, client_network
from sessionledger.server.http.problems import too_many, unavailable
from sessionledger.server.service.keys import ENDING, Key
from sessionledger.server.service.shared_counts import WINDOW_SECONDS, SharedCounts
from sessionledger.server.settings import Settings
from sessionledger.web.credentials import RawHeaders

FAMILIES_OF_A_PRINCIPAL = 10
"""The sessions of a principal may cause so many times the writes of one family."""

LIMITS = {
    "key": "too many requests with one admin key",
    "principal": "too many requests of one principal",
    "address": "too many requests without good credentials from one address",
    "family_writes": "too many writes to one session",
    "principal_writes": "too many writes to one principal",
}
"""The limits by their names in metrics and headers, and what is told beyond them."""


class RequestLimits:
    """How much each subject may still ask for. on_refused: told of each request that is refused."""

    def __init__(
        self, settings: Settings, counts: SharedCounts, on_refused: Callable[[str], None]
    ) -> None:
        writes = settings.writes_per_minute
        limits: dict[str, int | None] = {
            "key": settings.key_requests_per_minute,
            "principal": settings.principal_requests_per_minute,
            "address": settings.address_requests_per_minute,
            "family_writes": writes,
            "principal_writes": writes * FAMILIES_OF_A_PRINCIPAL,
        }
        self._limits = {limit: _Limit(limit, most) for limit, most in limits.items() if most}
        self._counts = counts
        self._on_refused = on_refused
        self.addresses = ClientAddresses(settings.trusted_proxies)

    def take(self, limit: str, subject: str) -> tuple[Header, ...]:
        """Count a request: what its answer says. Raises `HTTPProblem` after too many."""
        of = self._limits.get(limit)
        if of is None:
            return ()
        count = self._counts.take(of.kind, subject, of.most)
        state = of.state % (count.left, ceil(count.seconds))
        if count.is_refused:
            self._on_refused(limit)
            told = {"RateLimit-Policy": of.policy[1].decode(), "RateLimit": state.decode()}
            raise too_many(LIMITS[limit], count.seconds, told)
        return of.policy, (b"ratelimit", state)


class _Limit:
    """A limit: its kind in the counts, and what answers say about it. state: a format of bytes."""

    __slots__ = ("kind", "most", "policy", "state")

    def __init__(self, name: str, most: int) -> None:
        self.kind = [*LIMITS].index(name)
        self.most = most
        self.policy = (b"ratelimit-policy", f'"{name}";q={most};w={WINDOW_SECONDS}'.encode())
        self.state = b'"%b";r=%%d;t=%%d' % name.encode()


class RequestCount:
    """What one request counts for: the key or the principal that it authenticates as, or else the
    address of its client. Good credentials are never refused for their address.

    headers: what the answer says about that. client: the address of the client. caller: the key.
    """

    caller: Key | None = None
    headers: tuple[Header, ...] = ()

    def __init__(self, limits: RequestLimits, peer: str | None, headers: RawHeaders) -> None:
        self._limits = limits
        self._is_exempt = self.is_counted = limits.addresses.is_direct(peer, headers)
        self.client = limits.addresses.client_of(peer, headers)

    def take_key(self, key: Key, scope: str) -> None:
        """Count a request with an admin key. Raises `HTTPProblem` after too many."""
        self.caller = key
        if scope in ENDING and scope in key.scopes:
            self.is_counted = True
        else:
            self._take("key", key.handle)

    def take_principal(self, session: Session) -> None:
        """Count a request of a bearer. Raises `HTTPProblem` after too many."""
        self._take("principal", session.principal)

    def take_address(self) -> None:
        """Count a request that authenticated as nobody. Raises `HTTPProblem` after too many."""
        self._take("address", client_network(self.client))

    def take_write(self, session: Session) -> None:
        """Count a write to a session, by whomever. Raises `HTTPProblem` after too many.

        A handle has no limit: its bearer gets another by rotating. An end is never refused for
        having written too much, and so never counted.
        """
        self._limits.take("family_writes", session.family or session.handle)
        self._limits.take("principal_writes", session.principal)

    def _take(self, limit: str, subject: str) -> None:
        if not self._is_exempt:
            self.is_counted = True
            self.headers = self._limits.take(limit, subject)


class DeferredCount(RequestCount):
    """What a request counts for that is answered at once or not at all: nothing until then."""

    _due: tuple[str, str] | None = None

    def _take(self, limit: str, subject: str) -> None:
        if not self._is_exempt:
            self._due = (limit, subject)

    def settle(self) -> None:
        """Count the request. Raises `HTTPProblem` after too many."""
        if self._due is not None:
            self.is_counted = True
            self.headers = self._limits.take(*self._due)


class StreamLimit:
    """At most so many streams are open. on_change: called with the number of open streams."""

    def __init__(self, maximum: int, on_change: Callable[[int], None]) -> None:
        self._maximum = maximum
        self._on_change = on_change
        self._open = 0

    def acquire(self) -> None:
        """Count one more stream, until `release`. Raises `HTTPProblem` where too many are open."""
        if self._open >= self._maximum:
            raise unavailable("too_many_streams", f"{self._maximum} streams are open, as allowed")
        self._add(1)

    def release(self) -> None:
        """Count one stream less."""
        self._add(-1)

    def _add(self, count: int) -> None:
        self._open += count
        self._on_change(self._open)
