"""A principal: its logins as a tree, what happened to them, and their end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from urllib.parse import urlencode

from litestar import get, post
from litestar.exceptions import ClientException
from litestar.response import Redirect, Template

from sessionledger import Session
from sessionledger.console.told import Told, told_event, told_of
from sessionledger.console.views import ViewDependency, needs
from sessionledger.integrations.devices.page import login_of

PATH = "/principal"
MOST_LOGINS = 200
PAGE_SIZE = 25


def url_of(principal: str, **more: object) -> str:
    """The page of a principal, whose name may hold anything."""
    return f"{PATH}?{urlencode({'name': principal, **more})}"


def as_tree(logins: Iterable[Session]) -> Iterator[tuple[int, Told]]:
    """Each login with its depth: children stand below their parents, others at the top."""
    listed = list(logins)
    there = {login_of(one) for one in listed}
    below: dict[str | None, list[Session]] = {}
    for one in listed:
        below.setdefault(one.parent if one.parent in there else None, []).append(one)
    due = [(0, one) for one in reversed(below.get(None, []))]
    while due:
        depth, one = due.pop()
        yield depth, told_of(one)
        due += [(depth + 1, child) for child in reversed(below.pop(login_of(one), []))]


@get(PATH, opt=needs("sessions:read"))
async def principal_page(
    view: ViewDependency, name: str, ended: bool = False, after: int = 0
) -> Template:
    """The logins of a principal, live ones or all, and a page of their history."""
    listing = view.sessions.sessions(
        principal=name,
        state="all" if ended else "live",
        newest_first=True,
        page_size=MOST_LOGINS,
    )
    logins = await anext(listing.pages())
    history = view.sessions.history(
        principal=name, newest_first=True, after=after or None, page_size=PAGE_SIZE
    )
    page = await anext(history.pages())
    return view.page(
        "principal.html",
        name=name,
        ended=ended,
        logins=list(as_tree(logins.sessions)),
        has_more=logins.cursor is not None,
        events=[told_event(entry) for entry in page.entries],
        cut=page.cut,
        here=url_of(name),
        with_ended=url_of(name, ended="true"),
        next=url_of(name, after=page.cursor) if page.cursor else None,
    )


@post(f"{PATH}/end", opt=needs("sessions:revoke"))
async def end_all(view: ViewDependency) -> Redirect:
    """End all sessions of a principal, or all but those of one login."""
    name, kept = view.form.get("name", ""), view.form.get("keep")
    if not name:
        raise ClientException("The form names no principal.")
    count = await view.sessions.revoke_all(
        name, keep=[kept] if kept else [], **view.said(view.form.get("reason"))
    )
    return view.go(url_of(name), f"{count} sessions are ended." if count != 1 else "1 is ended.")


ROUTES = [principal_page, end_all]
