"""What a view function gets: one request of somebody who is logged in, and the ledger."""

from __future__ import annotations

from typing import Any, TypeAlias
from urllib.parse import quote, unquote
from zoneinfo import ZoneInfo

from litestar.datastructures import Cookie
from litestar.di import NamedDependency
from litestar.response import Redirect, Template

from sessionledger import AsyncSessionStore, Log, Session
from sessionledger.console.access import ANY, OPEN, HandlerRequest, check_form, form_secret, needs
from sessionledger.console.jobs import Jobs
from sessionledger.console.pages import zone_of
from sessionledger.server.service.keys import Key
from sessionledger.server.settings import Settings
from sessionledger.web.cross_site import SAFE_METHODS

__all__ = ["ANY", "OPEN", "View", "ViewDependency", "needs"]

NAVIGATION = (
    ("/", "Overview", ANY),
    ("/sessions", "Sessions", "sessions:read"),
    ("/incident", "Incident", "sessions:revoke_everybody"),
    ("/keys", "Keys", "keys:read"),
    ("/webhooks", "Webhooks", "webhooks:read"),
    ("/integrity", "Integrity", "events:read"),
)
"""Where the pages are, what they are called, and the scope that each needs."""

NOTICE = "__Host-console-notice"
MAX_NOTICE_CHARS = 500
NOTICE_SECONDS = 60


class View:
    """One request. operator: the key that is logged in; log_in: the console's session of it.

    form, fields: what a form said, by name, the last value or all of them.
    """

    def __init__(self, request: HandlerRequest, fields: dict[str, list[str]]) -> None:
        self.request = request
        self.operator: Key = request.state.operator
        self.session: Session = request.state.log_in
        self.zone: ZoneInfo = zone_of(request.cookies)
        self._fields = fields
        self.form = {name: values[-1] for name, values in fields.items()}
        console = request.app.state.console
        self.console = console
        self.settings: Settings = console.settings
        self.sessions: AsyncSessionStore = console.ledger.sessions
        self.keys: AsyncSessionStore = console.ledger.keys
        self.log: Log = console.ledger.log
        self.jobs: Jobs = console.jobs

    def fields(self, name: str) -> list[str]:
        """All values of a field of the form."""
        return self._fields.get(name, [])

    def may(self, scope: str) -> bool:
        """Whether the key may do that."""
        return scope == ANY or scope in self.operator.scopes

    def said(self, reason: str | None = None) -> dict[str, Any]:
        """What the history is told of an action: why, who, and from where."""
        context = self.console.log_ins.for_request(self.request).context()
        return {"reason": reason or None, "actor": self.operator.name, "context": context}

    @property
    def csrf(self) -> str:
        """What each form has to carry."""
        return form_secret(self.request)

    @property
    def navigation(self) -> list[tuple[str, str, bool]]:
        """The pages that the key may open: path, name, and whether it is this one."""
        here = "/" + self.request.url.path.split("/")[1]
        return [(path, name, path == here) for path, name, scope in NAVIGATION if self.may(scope)]

    def page(self, template: str, status: int = 200, **context: Any) -> Template:
        """A page of a template, and the notice that waited for it."""
        notice = unquote(self.request.cookies.get(NOTICE, ""))[:MAX_NOTICE_CHARS]
        given = {"view": self, "zone": self.zone, "notice": notice, **context}
        forgotten = [_notice("", 0)] if notice else []
        return Template(template, context=given, status_code=status, cookies=forgotten)

    def go(self, path: str, notice: str = "") -> Redirect:
        """Lead the browser to a page, which then shows the notice."""
        told = [_notice(notice[:MAX_NOTICE_CHARS], NOTICE_SECONDS)] if notice else []
        return Redirect(path, status_code=303, cookies=told)


def _notice(text: str, seconds: int) -> Cookie:
    return Cookie(
        NOTICE, value=quote(text), max_age=seconds, secure=True, httponly=True, samesite="strict"
    )


async def view_of(request: HandlerRequest) -> View:
    """The view of a request that `authorise` let in. A form is checked here."""
    fields: dict[str, list[str]] = {}
    if request.method not in SAFE_METHODS:
        form = await request.form()
        fields = {name: [str(value) for value in form.getall(name)] for name in form}
    view = View(request, fields)
    if request.method not in SAFE_METHODS:
        check_form(request, view.form)
    return view


ViewDependency: TypeAlias = NamedDependency[View]
"""How a view function declares it: `view: ViewDependency`."""
