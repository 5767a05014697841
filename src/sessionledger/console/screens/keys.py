"""Admin keys: what each may do, a new one, and the end of one."""

from __future__ import annotations

from datetime import timedelta

from litestar import get, post
from litestar.exceptions import ClientException, NotFoundException
from litestar.response import Redirect, Template

from sessionledger import Session, SessionLimitReached
from sessionledger.console.views import View, ViewDependency, needs
from sessionledger.secrecy import without_locals
from sessionledger.server.service.keys import SCOPES, Key, key_of, new_key

PATH = "/keys"
PAGE_SIZE = 200
MOST_DAYS = 3650


@get(PATH, opt=needs("keys:read"))
async def keys_page(view: ViewDependency) -> Template:
    """The live keys."""
    return await _page(view)


@post(PATH, opt=needs("keys:write"))
@without_locals
async def make_key(view: ViewDependency) -> Template:
    """Make a key, which this page shows once. The key that is logged in with is its parent."""
    name, scopes = view.form.get("name", "").strip(), view.fields("scope")
    attributes = new_key(name, scopes, view.operator)
    days = view.form.get("days", "").strip()
    if not days.isdecimal() or not 1 <= int(days) <= MOST_DAYS:
        raise ClientException(f"A key lives for 1 to {MOST_DAYS} days.")
    said = view.said(view.form.get("reason"))
    try:
        issued = await view.keys.create(
            name,
            ttl=timedelta(days=int(days)),
            attributes=attributes,
            parent=view.operator.handle,
            **said,
        )
    except SessionLimitReached:
        raise ClientException(f"There is a live key named {name}. Choose another name.") from None
    return await _page(view, issued.token)


@post("/keys/{handle:str}/end", opt=needs("keys:write"))
async def end_key(view: ViewDependency, handle: str) -> Redirect:
    """End a key, and all keys and log ins that were made with it."""
    found = await view.keys.find(handle=handle)
    if found is None or key_of(found) is None:
        raise NotFoundException("There is no live key with this handle.")
    await view.keys.revoke(handle=handle, **view.said(view.form.get("reason")))
    return view.go(PATH, f"The key {found.principal} is ended.")


async def _page(view: View, secret: str = "") -> Template:
    page = await anext(view.keys.sessions(page_size=PAGE_SIZE).pages())
    return view.page(
        "keys.html",
        keys=[(one, key) for one in page.sessions if (key := _named(one)) is not None],
        has_more=page.cursor is not None,
        scopes=[scope for scope in SCOPES if view.may(scope)],
        secret=secret,
    )


def _named(session: Session) -> Key | None:
    """The key of a session; None for a log in of this console, whose name no key can have."""
    return None if " " in session.principal else key_of(session)


ROUTES = [keys_page, make_key, end_key]
