"""Endpoints and their secrets, in a file that only its owner may read.

One process at a time writes the whole file and replaces it atomically. A reader sees the state
before or the state after.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

import msgspec

from sessionledger import LogUnavailable
from sessionledger.ownership import (
    Owner,
    flush,
    holder_of,
    open_companion,
    open_trusted,
    owner_of,
)
from sessionledger.webhooks.messages import CREATED, EXPIRED, FOR_ALL, TYPES
from sessionledger.webhooks.signing import new_secret

DEFAULT_TYPES = (CREATED, EXPIRED, *FOR_ALL)
MAX_ENDPOINTS = 100
PATIENCE_SECONDS, LOOK_AGAIN_SECONDS = 10.0, 0.02

_ID_BYTES = 6
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}", re.ASCII)


class InvalidEndpoint(ValueError):
    """An endpoint that can't be used: the message says what is wrong with it."""


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
    host = _host_of(url)
    if allow is not None and allow.lower() != host:
        raise InvalidEndpoint(f"what is allowed must be the host of the address, {host}")
    if allow is None and not url.lower().startswith("https://"):
        raise InvalidEndpoint(f"the address must be https, or {host} be allowed by its name")
    unknown = sorted(set(types) - set(TYPES))
    if unknown:
        raise InvalidEndpoint(f"there is no type {unknown[0]!r}; there are {', '.join(TYPES)}")
    return Endpoint(
        id=secrets.token_hex(_ID_BYTES),
        url=url,
        secret=new_secret(),
        types=tuple(types),
        principals=tuple(principals),
        allowed=allow is not None,
    )


class EndpointFile:
    """The endpoints of one ledger, whose owner has the file. Without a ledger, who made it has it.

    ledger: its file or folder, None for one that has neither.
    """

    def __init__(self, path: Path, ledger: Path | None = None) -> None:
        self.path = path
        self._ledger = ledger

    def read(self) -> tuple[Endpoint, ...]:
        """All endpoints, in the order they came. Raises `UnsafeFile`."""
        try:
            with _unsafe(self.path):
                file = open_trusted(self.path, self._owner(), os.O_RDONLY, forbidden=0o077)
        except FileNotFoundError:
            return ()
        with open(file, "rb") as opened:  # noqa: PTH123  a descriptor that was checked
            text = opened.read()
        try:
            return msgspec.json.decode(text, type=tuple[Endpoint, ...])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise UnsafeFile(f"{self.path} does not hold endpoints") from None

    def add(self, endpoint: Endpoint) -> None:
        """Raises `InvalidEndpoint` where there are too many."""

        def added(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
            if len(endpoints) >= MAX_ENDPOINTS:
                raise InvalidEndpoint(f"there are {MAX_ENDPOINTS} endpoints, which is the most")
            return (*endpoints, endpoint)

        self._change(added)

    def remove(self, id: str) -> bool:
        """Whether there was one."""
        return self._replace(id, lambda _: None)

    def record(self, id: str, change: Callable[[Endpoint], Endpoint]) -> bool:
        """Change one endpoint; whether there is one."""
        return self._replace(id, change)

    def _replace(self, id: str, change: Callable[[Endpoint], Endpoint | None]) -> bool:
        found = False

        def changed(endpoints: tuple[Endpoint, ...]) -> Iterator[Endpoint]:
            nonlocal found
            for endpoint in endpoints:
                after = change(endpoint) if endpoint.id == id else endpoint
                found = found or endpoint.id == id
                if after is not None:
                    yield after

        self._change(lambda endpoints: tuple(changed(endpoints)))
        return found

    def _change(self, change: Callable[[tuple[Endpoint, ...]], tuple[Endpoint, ...]]) -> None:
        with self._locked():
            before = self.read()
            after = change(before)
            if after != before:
                self._write(after)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.open_beside("-lock")
        try:
            end = monotonic() + PATIENCE_SECONDS
            while not is_locked_by_us(lock):
                if monotonic() > end:
                    who = holder_of(_beside(self.path, "-lock"))
                    raise UnsafeFile(f"{who} is still changing {self.path}: try again later")
                sleep(LOOK_AGAIN_SECONDS)
            yield
        finally:
            os.close(lock)

    def _write(self, endpoints: tuple[Endpoint, ...]) -> None:
        new = _beside(self.path, "-new")
        new.unlink(missing_ok=True)
        file = self.open_beside("-new")
        with open(file, "wb") as opened:  # noqa: PTH123  a descriptor with its mode
            opened.write(msgspec.json.format(msgspec.json.encode(endpoints), indent=1) + b"\n")
            opened.flush()
            os.fsync(file)
        new.replace(self.path)
        flush(self.path.parent)

    def open_beside(self, ending: str) -> int:
        """A file beside it, which is made if it is not there. Raises `UnsafeFile`."""
        path = _beside(self.path, ending)
        with _unsafe(path):
            return open_companion(path, self._owner())

    def _owner(self) -> Owner:
        if self._ledger is not None:
            return owner_of(self._ledger)
        # Root may act for whoever made the file.
        maker = os.geteuid() or owner_of(self.path).uid
        return Owner(maker, -1, 0o600)


def is_locked_by_us(lock: int) -> bool:
    """Take the lock of an open file, if nobody else has it; whether it was taken."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def succeeded(endpoint: Endpoint) -> Endpoint:
    """An endpoint that was reached."""
    return msgspec.structs.replace(endpoint, failures=0, problem=None, disabled_at=None)


def failed(endpoint: Endpoint, problem: str) -> Endpoint:
    """An endpoint after one more failed attempt."""
    return msgspec.structs.replace(endpoint, failures=endpoint.failures + 1, problem=problem)


def disabled(endpoint: Endpoint, at: datetime) -> Endpoint:
    """An endpoint that gets no messages."""
    return msgspec.structs.replace(endpoint, disabled_at=at)


def _host_of(url: str) -> str:
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


@contextmanager
def _unsafe(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        owner = f", which user {path.stat().st_uid} owns" if os.access(path, os.F_OK) else ""
        raise UnsafeFile(f"{path}{owner}: {error.strerror}") from None
    except LogUnavailable as error:
        raise UnsafeFile(str(error)) from None


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
