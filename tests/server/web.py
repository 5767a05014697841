"""A service in this process and a client of it, without sockets; both on one event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import httpx

from sessionledger.server.asgi_app import Application
from sessionledger.server.service.keys import SCOPES, new_key
from sessionledger.server.service.ledger import Ledger

A = TypeVar("A")
JSON = dict[str, Any]


class Web:
    """Requests to a service, with the key of who may do everything unless told otherwise."""

    def __init__(self, application: Application, key_name: str = "root") -> None:
        self._runner = asyncio.Runner()
        self.application = application
        self._stack = ExitStack()
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.application), base_url="http://ledger.test"
        )
        self.key = ""
        self._key_name = key_name

    def __enter__(self) -> Web:
        running = self.application.running()
        self.run(running.__aenter__)
        self._stack.callback(self._runner.close)
        self._stack.callback(self.run, lambda: running.__aexit__(None, None, None))
        self._stack.callback(self.run, self.client.aclose)
        self.key = self.make_key(self._key_name)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def ledger(self) -> Ledger:
        return self.application.service.ledger

    def run(self, call: Callable[[], Awaitable[A]]) -> A:
        async def called() -> A:
            return await call()

        return self._runner.run(called())

    def make_key(self, name: str, *scopes: str) -> str:
        attributes = new_key(name, scopes or SCOPES, None)
        return self.run(lambda: self.ledger.keys.create(name, attributes=attributes)).token

    def __call__(
        self, method: str, path: str, *, token: str | None = None, **told: Any
    ) -> httpx.Response:
        """One request; without a token, with the key; with an empty one, without credentials."""
        headers = dict(told.pop("headers", {}))
        given = self.key if token is None else token
        if given:
            headers.setdefault("Authorization", f"Bearer {given}")
        return self.run(lambda: self.client.request(method, path, headers=headers, **told))

    def create(self, principal: str = "alice", **told: Any) -> JSON:
        """A new session, as its creator gets it."""
        answer = self("POST", "/v1/sessions", json={"principal": principal, **told})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Status, code and field of a problem, which must be one."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    assert answer.headers["cache-control"] == "no-store"
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["type"] == f"urn:sessionledger:problem:{told['code']}"
    return answer.status_code, told["code"], told.get("field")
