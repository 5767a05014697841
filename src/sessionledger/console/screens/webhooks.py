"""Webhook endpoints: how each does, a new one, a test, another try, and the end of one."""

from __future__ import annotations

import asyncio
from typing import Any

from litestar import get, post
from litestar.exceptions import NotFoundException
from litestar.response import Redirect, Template

from sessionledger.console.views import View, ViewDependency, needs
from sessionledger.secrecy import without_locals
from sessionledger.webhooks.administration import Webhooks
from sessionledger.webhooks.endpoints import DEFAULT_TYPES, Endpoint, host_of
from sessionledger.webhooks.messages import TYPES

PATH = "/webhooks"
UNKNOWN = "There is no endpoint with this id."


@get(PATH, opt=needs("webhooks:read"))
async def webhooks_page(view: ViewDependency) -> Template:
    """The endpoints."""
    return await _page(view)


@post(PATH, opt=needs("webhooks:write"))
@without_locals
async def add_webhook(view: ViewDependency) -> Template:
    """Add an endpoint at a public address. The page shows its secret once."""
    principals = [line.strip() for line in view.form.get("principals", "").split("\n")]
    url = view.form.get("url", "").strip()
    host = host_of(url)
    added = await asyncio.to_thread(
        _webhooks(view).add,
        url,
        view.fields("type"),
        [name for name in principals if name],
        allow=host if host in view.settings.webhook_hosts else None,
    )
    return await _page(view, added.secret)


@post("/webhooks/{id:str}/test", opt=needs("webhooks:write"))
async def test_webhook(view: ViewDependency, id: str) -> Redirect:
    """Send the endpoint a message that is about no event."""
    attempt = await asyncio.to_thread(_webhooks(view).test, id)
    if attempt is None:
        raise NotFoundException(UNKNOWN)
    answer = "Nothing was answered" if attempt.status is None else f"Answered {attempt.status}"
    problem = f": {attempt.problem}" if attempt.problem else ""
    return view.go(PATH, f"{answer} after {attempt.seconds:.1f} s{problem}.")


@post("/webhooks/{id:str}/enable", opt=needs("webhooks:write"))
async def enable_webhook(view: ViewDependency, id: str) -> Redirect:
    """Try the endpoint again. It goes on where it was left."""
    return _done(view, await asyncio.to_thread(_webhooks(view).enable, id), "is tried again")


@post("/webhooks/{id:str}/end", opt=needs("webhooks:write"))
async def remove_webhook(view: ViewDependency, id: str) -> Redirect:
    """Remove the endpoint."""
    return _done(view, await asyncio.to_thread(_webhooks(view).remove, id), "is removed")


def _done(view: View, endpoint: Endpoint | None, what: str) -> Redirect:
    if endpoint is None:
        raise NotFoundException(UNKNOWN)
    return view.go(PATH, f"The endpoint at {endpoint.host} {what}.")


def _webhooks(view: View) -> Webhooks:
    found: Webhooks | None = view.console.ledger.webhooks
    if found is None:
        raise NotFoundException("This ledger has no place for webhooks.")
    return found


async def _page(view: View, secret: str = "") -> Template:
    given: dict[str, Any] = {
        "endpoints": await asyncio.to_thread(_webhooks(view).list),
        "types": TYPES,
        "usual": DEFAULT_TYPES,
        "secret": secret,
    }
    return view.page("webhooks.html", **given)


ROUTES = [webhooks_page, add_webhook, test_webhook, enable_webhook, remove_webhook]
