"""A site of an ASGI framework, through the test client of Starlette."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.testclient import TestClient
from starlette.types import ASGIApp

from sessionledger import AsyncSessionStore, Log
from sessionledger.testing import Clock
from tests.integrations.site import HOST, POLICY, Answer, Headers, Site, opened
from tests.reported import raised_by

Make = Callable[[Callable[[], AsyncSessionStore]], ASGIApp]


class AsgiSite(Site):
    """The application runs while the test client is entered."""

    def __init__(self, log: Log, clock: Clock, make: Make) -> None:
        super().__init__(log, clock)
        app = make(lambda: AsyncSessionStore(log, policy=POLICY, clock=clock))
        url = f"https://{HOST}"
        self.app = app
        self.client = TestClient(app, base_url=url, raise_server_exceptions=False)

    def ask(self, method: str, path: str, headers: Headers) -> Answer:
        answer = self.client.request(method, path, headers=list(headers), follow_redirects=False)
        self.client.cookies.clear()
        return Answer(answer.status_code, answer.text, answer.headers.multi_items())

    def raised(self, method: str, path: str, headers: Headers) -> BaseException:
        client = TestClient(self.app, base_url=f"https://{HOST}")
        return raised_by(lambda: client.request(method, path, headers=list(headers)))


@contextmanager
def running(make: Make) -> Iterator[AsgiSite]:
    """The application, started."""
    with opened(lambda log, clock: AsgiSite(log, clock, make)) as site:
        assert isinstance(site, AsgiSite)
        with site.client:
            yield site
