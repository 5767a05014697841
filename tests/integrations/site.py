"""An application in a framework, asked through that framework's own test client."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sessionledger import IssuedSession, Log, Policy, SessionStore, open_log
from sessionledger.integrations import Requirements, Settings, user_agent_and_address
from sessionledger.integrations.devices import DevicePage
from sessionledger.testing import Clock

COOKIE = "__Host-session"
HOST = "testserver"
OWN = {"Sec-Fetch-Site": "same-origin"}
SHARED = {"Cache-Control": "public, max-age=60", "Vary": "Accept-Language"}
POLICY = Policy(idle_timeout=timedelta(hours=1))
SETTINGS = Settings(
    trusted_origins=("https://pages.test",),
    context=user_agent_and_address,
)
SCOPED = Requirements(scopes=("orders:read", "orders:write"))
PAGE = DevicePage(after_log_out="/current")
ADMIN = Requirements(attributes={"role": "admin"})
RECENT = Requirements(max_auth_age=timedelta(minutes=10))

Headers = Iterable[tuple[str, str]]


@dataclass
class Answer:
    """What an application answered; names of headers are in lower case."""

    status: int
    text: str
    headers: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        return [value for called, value in self.headers if called.lower() == name]

    def one(self, name: str) -> str | None:
        """The value of a header that must not be there twice."""
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    @property
    def token(self) -> str:
        """The token that the browser is to keep."""
        cookie = self.one("set-cookie")
        assert cookie is not None
        return cookie.partition(";")[0].removeprefix(f"{COOKIE}=")


class Site(ABC):
    """The application, and a store of the test's own on the same log and clock."""

    def __init__(self, log: Log, clock: Clock) -> None:
        self.log = log
        self.clock = clock
        self.store = SessionStore(log, policy=POLICY, clock=clock)

    @abstractmethod
    def ask(self, method: str, path: str, headers: Headers) -> Answer:
        """One request over https to `HOST`, which keeps and sends no cookies of its own accord."""

    @abstractmethod
    def raised(self, method: str, path: str, headers: Headers) -> BaseException:
        """What a request raises within the application, as error reports get it."""

    def __call__(
        self,
        method: str,
        path: str,
        headers: dict[str, str] | Headers = (),
        *,
        bearer: str | None = None,
        cookie: str | None = None,
    ) -> Answer:
        given = list(headers.items()) if isinstance(headers, dict) else list(headers)
        if bearer is not None:
            given.append(("Authorization", f"Bearer {bearer}"))
        if cookie is not None:
            given.append(("Cookie", f"theme=dark; {COOKIE}={cookie}; other=1"))
        return self.ask(method, path, given)

    def create(self, principal: str = "alice", **told: Any) -> IssuedSession:
        return self.store.create(principal, **told)


@contextmanager
def opened(make: Callable[[Log, Clock], Site]) -> Iterator[Site]:
    """A site on a ledger in memory, at noon."""
    log = open_log("memory:")
    try:
        yield make(log, Clock(datetime(2026, 5, 2, 12, tzinfo=UTC)))
    finally:
        log.close()
