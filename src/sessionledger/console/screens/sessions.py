"""Sessions: a search, and what it finds, newest first."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote, urlencode

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import Redirect, Template

from sessionledger import InvalidSession, Page
from sessionledger.console.told import told_of
from sessionledger.console.views import View, ViewDependency, needs

PATH = "/sessions"
PAGE_SIZE = 50
STATES = Page.STATES


class Search(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is looked for. Empty fields are not asked about."""

    principal: str = ""
    external_id: str = ""
    address: str = ""
    state: str = STATES[0]

    def url(self, after: str | None) -> str:
        """The address of a page of what is found."""
        told = {**msgspec.to_builtins(self), **({"after": after} if after else {})}
        return f"{PATH}?{urlencode(told)}" if told else PATH

    async def page(self, view: View, after: str) -> Page:
        """A page of what is found. Raises `InvalidSession`."""
        given: dict[str, Any] = {
            name: value for name, value in msgspec.structs.asdict(self).items() if value
        }
        listing = view.sessions.sessions(
            **given, newest_first=True, after=after or None, page_size=PAGE_SIZE
        )
        return await anext(listing.pages())


@get(PATH, opt=needs("sessions:read"))
async def sessions_page(
    view: ViewDependency,
    principal: str = "",
    external_id: str = "",
    address: str = "",
    listed: Annotated[str, QueryParameter(name="state")] = STATES[0],
    handle: str = "",
    after: str = "",
) -> Template | Redirect:
    """The search, and a page of what it finds. A handle leads to its session."""
    search = Search(*(text.strip() for text in (principal, external_id, address, listed)))
    if handle.strip():
        return Redirect(f"{PATH}/{quote(handle.strip(), safe=':')}", status_code=303)
    problem, page = "", Page([], None)
    try:
        page = await search.page(view, after)
    except InvalidSession as error:
        problem = str(error)
    return view.page(
        "sessions.html",
        status=400 if problem else 200,
        search=search,
        states=STATES,
        problem=problem,
        rows=[told_of(one) for one in page.sessions],
        next=search.url(page.cursor) if page.cursor else None,
        is_first=not after,
    )


ROUTES = [sessions_page]
