"""A site of Django, through its own test clients."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test import AsyncClient, Client, override_settings

from sessionledger import Log, SessionStore
from sessionledger.testing import Clock
from tests.integrations.apps.django_app import set_up
from tests.integrations.site import HOST, POLICY, SETTINGS, Answer, Headers, Site, opened
from tests.reported import raised_by

set_up()


def joined(headers: Headers) -> dict[str, str]:
    """Headers as a server hands them on (RFC 9110, section 5.3); the client takes no others."""
    told: dict[str, str] = {}
    for name, value in headers:
        told[name] = f"{told[name]},{value}" if name in told else value
    return told


def answer_of(response: Any) -> Answer:
    """A response as it goes to a server."""
    cookies = [("set-cookie", one.OutputString()) for one in response.cookies.values()]
    return Answer(response.status_code, response.text, [*response.items(), *cookies])


class DjangoSite(Site):
    """Asked through the client for plain views."""

    def __init__(self, log: Log, clock: Clock) -> None:
        super().__init__(log, clock)
        self.client = Client(raise_request_exception=False)

    def ask(self, method: str, path: str, headers: Headers) -> Answer:
        told = {"Host": HOST} | joined(headers)
        response = self.client.generic(method, path, secure=True, headers=told)
        self.client.cookies.clear()
        return answer_of(response)

    def raised(self, method: str, path: str, headers: Headers) -> BaseException:
        client = Client(raise_request_exception=True)
        told = {"Host": HOST} | joined(headers)
        return raised_by(lambda: client.generic(method, path, secure=True, headers=told))


class CoroutineSite(Site):
    """Asked through the client for coroutines."""

    def __init__(self, log: Log, clock: Clock) -> None:
        super().__init__(log, clock)
        self.client = AsyncClient(raise_request_exception=False)

    def ask(self, method: str, path: str, headers: Headers) -> Answer:
        # It says itself which host is asked, and adds a header `Cookie` of its own, which Django
        # joins to ours with a comma.
        told = joined(headers)
        if "Cookie" in told:
            told["Cookie"] = f"theme=dark; {told['Cookie']}; other=1"
        response = asyncio.run(self._asked(method, path, told))
        self.client.cookies.clear()
        return answer_of(response)

    def raised(self, method: str, path: str, headers: Headers) -> BaseException:
        self.client.raise_request_exception = True
        return raised_by(lambda: self.ask(method, path, headers))

    async def _asked(self, method: str, path: str, headers: dict[str, str]) -> Any:
        return await self.client.generic(method, path, secure=True, headers=headers)


@contextmanager
def running(kind: type[Site], **project: Any) -> Iterator[Site]:
    """The project, on the log of the site."""
    with opened(kind) as site:
        told = {
            "OPEN": lambda: SessionStore(site.log, policy=POLICY, clock=site.clock),
            "SETTINGS": SETTINGS,
        }
        with override_settings(SESSIONLEDGER=told, **project):
            yield site
