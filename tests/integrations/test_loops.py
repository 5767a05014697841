"""One asynchronous store on an open log, made at import, serves the loops that frameworks make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from litestar import Litestar, get
from litestar.testing import TestClient as LitestarClient
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from sessionledger import AsyncSessionStore, open_log
from sessionledger.testing.fixtures import concurrently
from tests.logs.openers import address

CLIENTS = 3
Ask = Callable[[], str]


async def principal_of_a_new_session(store: AsyncSessionStore) -> str:
    issued = await store.create("alice")
    assert await store.patch(issued.token, {"seen": True}) is not None
    found = await store.get(issued.token)
    return "nobody" if found is None else found.principal


def in_starlette(store: AsyncSessionStore) -> Ask:
    async def view(_: Request) -> PlainTextResponse:
        return PlainTextResponse(await principal_of_a_new_session(store))

    app = Starlette(routes=[Route("/", view)])
    # Without `with`, every request of it has a loop of its own.
    return lambda: TestClient(app).get("/").text


def in_litestar(store: AsyncSessionStore) -> Ask:
    @get("/")
    async def view() -> str:
        return await principal_of_a_new_session(store)

    def ask() -> str:
        # An application each: its client runs one lifespan at a time.
        with LitestarClient(Litestar([view], logging_config=None)) as client:
            return client.get("/").text

    return ask


def in_flask(store: AsyncSessionStore) -> Ask:
    app = Flask(__name__)

    @app.get("/")
    async def view() -> str:
        return await principal_of_a_new_session(store)

    return lambda: app.test_client().get("/").text


@pytest.mark.parametrize("log", ["memory", "sqlite", "file", "postgresql"])
@pytest.mark.parametrize("make", [in_starlette, in_litestar, in_flask])
def test_a_store_made_at_import_serves_every_loop_of_a_framework(
    make: Callable[[AsyncSessionStore], Ask], log: str, tmp_path: Path
) -> None:
    opened = open_log(address(log, tmp_path / "ledger"))
    store = AsyncSessionStore(opened)
    ask = make(store)
    assert [ask(), ask()] == ["alice"] * 2
    assert concurrently(*[ask] * CLIENTS) == ["alice"] * CLIENTS
    asyncio.run(store.close())
    opened.close()
