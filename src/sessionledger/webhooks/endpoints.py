"""Endpoints and their secrets: what they are, and what every storage of them does.

Two storages keep them: a file beside the ledger, or a document of a ledger that machines share.
"""

from __future__ import annotations

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

import msgspec

from sessionledger.webhooks.messages import CREATED, EXPIRED, FOR_ALL, TYPES
from sessionledger.webhooks.signing import new_secret

DEFAULT_TYPES = (CREATED, EXPIRED, *FOR_ALL)
MAX_ENDPOINTS = 100
MAX_URL_CHARS, MAX_PRINCIPALS = 2048, 100

_ID_BYTES = 6
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)


class InvalidEndpoint(ValueError):
    """An endpoint that can't be used: the message says what is wrong with it."""


class EndpointLimitReached(InvalidEndpoint):
    """A ledger has as many endpoints as it may have."""


class EndpointExists(InvalidEndpoint):
    """Another endpoint has that id."""


class UnsafeFile(Exception):
    """The file of the endpoints can't be trusted or can't be read."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An address that messages are sent to.

    types, principals: which events it wants; without principals, those of all. allowed: its host
    may be at an address that is not public. failures: failed attempts in a row, of which problem is
    the last. disabled_at: when it was disabled, or None.
    """

    id: str
    url: str
    secret: str
    types: tuple[str, ...] = DEFAULT_TYPES
    principals: tuple[str, ...] = ()
    allowed: bool = False
    failures: int = 0
    problem: str | None = None
    disabled_at: datetime | None = None

    def __repr__(self) -> str:
        return f"Endpoint(id={self.id!r}, host={self.host!r})"

    @property
    def host(self) -> str:
        """The host of its address, in lower case."""
        return urlsplit(self.url).hostname or ""

    @property
    def netloc(self) -> str:
        """What of its address may be shown: a path may be a secret."""
        return urlsplit(self.url).netloc

    @property
    def state(self) -> Literal["well", "failing", "disabled"]:
        """Whether it gets messages, and takes them."""
        if self.disabled_at is not None:
            return "disabled"
        return "failing" if self.failures else "well"

    @property
    def consumer(self) -> str:
        """The consumer whose cursor the ledger keeps."""
        return f"webhook.{self.id}"

    def wants(self, type: str, principal: str | None) -> bool:
        """Whether it wants a message of that type about a session of that principal."""
        concerns = type in FOR_ALL or not self.principals or principal in self.principals
        return type in self.types and concerns


def new_endpoint(
    url: str,
    types: Iterable[str] = DEFAULT_TYPES,
    principals: Iterable[str] = (),
    allow: str | None = None,
) -> Endpoint:
    """A new endpoint with a secret of its own. Raises `InvalidEndpoint`.

    `allow` is the name of its host, which may then be at an address that is not public, and be
    spoken to without TLS.
    """
    host = host_of(url)
    if allow is not None and allow.lower() != host:
        raise InvalidEndpoint(f"what is allowed must be the host of the address, {host}")
    if allow is None and not url.lower().startswith("https://"):
        raise InvalidEndpoint(f"the address must be https, or {host} be allowed by its name")
    unknown = sorted(set(types) - set(TYPES))
    if unknown:
        raise InvalidEndpoint(f"there is no type {unknown[0]!r}; there are {', '.join(TYPES)}")
    principals = tuple(principals)
    if len(url) > MAX_URL_CHARS or len(principals) > MAX_PRINCIPALS:
        raise InvalidEndpoint(
            f"an endpoint has an address of at most {MAX_URL_CHARS} characters, and at most "
            f"{MAX_PRINCIPALS} principals"
        )
    return Endpoint(
        id=secrets.token_hex(_ID_BYTES),
        url=url,
        secret=new_secret(),
        types=tuple(types),
        principals=principals,
        allowed=allow is not None,
    )


Known: TypeAlias = tuple[Endpoint, ...]


class Lease(Protocol):
    """The right to deliver, which one process has at a time."""

    @property
    def seconds_left(self) -> float | None:
        """How long this process has it, if it can't renew it; None for as long as it lives."""
        ...

    def hold(self) -> bool:
        """Take or renew it; whether this process has it now."""
        ...

    def release(self) -> None:
        """Give it up, if this process has it."""
        ...


class Endpoints(ABC):
    """The endpoints of one ledger, in the order they came.

    Each method raises `UnsafeFile` or `SessionLedgerError` if they can't be read.
    """

    @abstractmethod
    def __str__(self) -> str:
        """Where they are kept."""

    @abstractmethod
    def read(self) -> Known:
        """All of them."""

    @abstractmethod
    def lease(self) -> Lease:
        """The right to deliver to them."""

    @abstractmethod
    def _change(self, change: Callable[[Known], Known]) -> None:
        """Replace all of them, while nobody else does."""

    def add(self, endpoint: Endpoint) -> None:
        """Add an endpoint. One with the same id, and the same settings, gets the new secret.

        Raises `EndpointLimitReached` and `EndpointExists`.
        """

        def added(endpoints: Known) -> Known:
            ids = [one.id for one in endpoints]
            if endpoint.id not in ids:
                if len(endpoints) >= MAX_ENDPOINTS:
                    raise EndpointLimitReached(
                        f"there are {MAX_ENDPOINTS} endpoints, which is the most: remove one"
                    )
                return (*endpoints, endpoint)
            known = endpoints[ids.index(endpoint.id)]
            if _settings(known) != _settings(endpoint):
                raise EndpointExists("another endpoint has that id")
            changed = msgspec.structs.replace(known, secret=endpoint.secret)
            return tuple(changed if one is known else one for one in endpoints)

        self._change(added)

    def remove(self, id: str) -> Endpoint | None:
        """Remove an endpoint, and answer it; None if there is none with that id."""
        return self.record(id, lambda _: None)

    def record(self, id: str, change: Callable[[Endpoint], Endpoint | None]) -> Endpoint | None:
        """Change or remove an endpoint, and answer it; None if there is none with that id."""
        found: Endpoint | None = None

        def changed(endpoints: Known) -> Known:
            nonlocal found
            after = {one: change(one) if one.id == id else one for one in endpoints}
            found = next((new or one for one, new in after.items() if one.id == id), None)
            return tuple(one for one in after.values() if one is not None)

        self._change(changed)
        return found


def _settings(endpoint: Endpoint) -> tuple[object, ...]:
    return endpoint.url, endpoint.types, endpoint.principals, endpoint.allowed


def succeeded(endpoint: Endpoint) -> Endpoint:
    """An endpoint that was reached."""
    return msgspec.structs.replace(endpoint, failures=0, problem=None, disabled_at=None)


def failed(endpoint: Endpoint, problem: str) -> Endpoint:
    """An endpoint after one more failed attempt."""
    return msgspec.structs.replace(endpoint, failures=endpoint.failures + 1, problem=problem)


def disabled(endpoint: Endpoint, at: datetime) -> Endpoint:
    """An endpoint that gets no messages."""
    return msgspec.structs.replace(endpoint, disabled_at=at)


def is_host(name: str) -> bool:
    """Whether it is the name of a host as `host_of` answers it."""
    try:
        return host_of(f"https://{name}/") == name
    except InvalidEndpoint:
        return False


def host_of(url: str) -> str:
    """The host of an address, in lower case. Raises `InvalidEndpoint` for an unusable one."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidEndpoint("the address can't be understood") from None
    if parts.scheme not in ("http", "https") or host is None or not _HOST.fullmatch(host):
        raise InvalidEndpoint("the address must be an https:// URL with a host")
    if parts.username is not None or parts.password is not None:
        raise InvalidEndpoint("the address must not hold a password: receivers check signatures")
    if not url.isascii() or not url.isprintable() or " " in url or parts.fragment:
        raise InvalidEndpoint("the address must be of printable ASCII, without a fragment")
    return host.lower()
