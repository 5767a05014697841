"""Log in, log out, and the viewer's time zone."""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.datastructures import Cookie
from litestar.exceptions import ClientException
from litestar.response import Redirect, Template

from sessionledger import InvalidSession
from sessionledger.console.access import ANY, OPEN, HandlerRequest, log_in, needs, operator_of
from sessionledger.console.pages import ZONE, zone_of, zones
from sessionledger.console.views import ViewDependency
from sessionledger.secrecy import without_locals
from sessionledger.server.http.client_address import client_network
from sessionledger.server.http.problems import HTTPProblem

LOG_IN = "/login"
YEAR_SECONDS = 365 * 24 * 3600

WRONG = "That is not a live admin key."
OLD = "An older version made that key. Make a new one: sessionledger keys create NAME --scope SCOPE"


@get(LOG_IN, opt=needs(OPEN))
async def log_in_page(request: HandlerRequest) -> Template | Redirect:
    """The form that takes a key."""
    session = await request.app.state.console.log_ins.for_request(request).session()
    is_logged_in = session is not None and operator_of(session) is not None
    return Redirect("/", status_code=303) if is_logged_in else _form(request)


@post(LOG_IN, opt=needs(OPEN))
@without_locals
async def take_key(request: HandlerRequest) -> Response[Any]:
    """Exchange the key for a session of this browser.

    A good key is never refused for the address it comes from. Others are counted.
    """
    console = request.app.state.console
    try:
        presented = str((await request.form()).get("key", "")).strip()
        if await log_in(request, console.ledger.keys, presented):
            return Redirect("/", status_code=303)
    except InvalidSession:
        return _form(request, OLD, 403)
    peer = None if request.client is None else request.client.host
    client = console.limits.addresses.client_of(peer, request.scope["headers"])
    try:
        console.limits.take("address", client_network(client))
    except HTTPProblem as refused:
        return _form(request, refused.problem.detail, 429, refused.headers)
    return _form(request, WRONG, 401)


def _form(
    request: HandlerRequest, problem: str = "", status: int = 200, headers: Any = None
) -> Template:
    context = {"problem": problem, "zone": zone_of(request.cookies)}
    return Template("login.html", context=context, status_code=status, headers=headers)


@post("/logout", opt=needs(ANY))
async def log_out(view: ViewDependency) -> Redirect:
    """End the session of this browser. The key stays."""
    log_ins = view.console.log_ins.for_request(view.request)
    await log_ins.log_out(reason="logged out of the console", actor=view.operator.name)
    return view.go(LOG_IN)


@get("/preferences", opt=needs(ANY))
async def preferences(view: ViewDependency) -> Template:
    """The choice of a time zone."""
    return view.page("preferences.html", zones=zones())


@post("/preferences", opt=needs(ANY))
async def prefer(view: ViewDependency) -> Redirect:
    """Keep the choice in the browser."""
    zone = view.form.get("zone", "")
    if zone not in zones():
        raise ClientException("That is no time zone that this system knows.")
    answer = view.go("/", f"All times are in {zone} now.")
    answer.cookies.append(
        Cookie(
            ZONE, value=zone, max_age=YEAR_SECONDS, secure=True, httponly=True, samesite="strict"
        )
    )
    return answer


ROUTES = [log_in_page, take_key, log_out, preferences, prefer]
