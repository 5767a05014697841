"""The routes of “where you are signed in”: views of a request session and the id in a path."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Mapping
from heapq import nlargest
from typing import Any, NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from sessionledger import Session
from sessionledger.integrations.devices.page import STYLE, DevicePage, device_of, login_of
from sessionledger.integrations.refusing import answered
from sessionledger.integrations.request_session import RequestSession, actor_of
from sessionledger.integrations.requirements import A_SESSION, Requirements
from sessionledger.integrations.settings import credentials_of
from sessionledger.web.challenges import lacking
from sessionledger.web.cross_site import CROSS_SITE

MOST_SHOWN = 100
_PRIVATE = {
    "Cache-Control": "no-store",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
}
_RANGE = re.compile(r"([^\s;,]+)(?:\s*;(?:[^,]*;)?\s*q=([01](?:\.\d*)?))?[^,]*")


class Reply(NamedTuple):
    """What is answered, of which each framework makes its own response."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = _PRIVATE
    media_type: str = "application/json"


View: TypeAlias = Callable[[RequestSession, str], Coroutine[Any, Any, Reply]]
Route: TypeAlias = tuple[str, str, str, View]
"""A name, a method, a path, which may hold `{id}`, and the view. No two routes have one path."""


class DeviceViews:
    """The views and their routes, of which the more special ones come first."""

    def __init__(self, page: DevicePage | None) -> None:
        self._page = page or DevicePage()
        self.routes: list[Route] = [
            ("device_list", "GET", "/sessions", answered(self._show)),
            ("device_style", "GET", "/sessions/style.css", self._style),
            ("device_end_others", "POST", "/sessions/revoke-others", answered(self._end_others)),
            ("device_end", "DELETE", "/sessions/{id}", answered(self._end)),
            ("device_end_by_form", "POST", "/sessions/{id}/revoke", answered(self._end)),
            ("device_end_all", "POST", "/logout-everywhere", answered(self._end_all)),
        ]

    async def _style(self, _: RequestSession, __: str) -> Reply:
        headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
        return Reply(STYLE, headers=headers, media_type="text/css; charset=utf-8")

    async def _show(self, asked: RequestSession, _: str) -> Reply:
        own = await _requester(asked)
        id, latest, count = login_of(own), list[Session](), 0

        def most_shown() -> list[Session]:
            return nlargest(MOST_SHOWN, latest, lambda one: (login_of(one) == id, one.last_seen_at))

        async for one in asked.store().sessions(principal=own.principal):
            latest, count = most_shown() if len(latest) > 2 * MOST_SHOWN else latest, count + 1
            latest.append(replace(one, attributes={}))
        devices = [device_of(one, own) for one in most_shown()]
        more = count - len(devices)
        html = self._page.html(own.principal, devices, more) if _is_for_people(asked) else None
        if html is not None:
            return Reply(html.encode(), media_type="text/html; charset=utf-8")
        return _json({"sessions": devices, "more": more})

    async def _end(self, asked: RequestSession, id: str) -> Reply:
        own = await _requester(asked)
        if is_own := id == login_of(own):
            await asked.log_out()
        else:
            await asked.required(self._page.to_end)
        ended = is_own or await _end_login(asked, own, id)
        if asked.request.method == "POST" and _is_for_people(asked):
            return _redirect(self._page.after_log_out if is_own else "../../sessions")
        return Reply(status=204) if ended else _json({"detail": "there is no such session"}, 404)

    async def _end_others(self, asked: RequestSession, _: str) -> Reply:
        own = await _requester(asked, self._page.to_end)
        revoke_all = asked.store().revoke_all
        ended = await revoke_all(own.principal, keep=[own.handle], **_noted(asked, own))
        return _redirect("../sessions") if _is_for_people(asked) else _json({"ended": ended})

    async def _end_all(self, asked: RequestSession, _: str) -> Reply:
        await _requester(asked, self._page.to_end)
        answer = _json({"ended": await asked.log_out_everywhere()})
        return _redirect(self._page.after_log_out) if _is_for_people(asked) else answer


async def _requester(asked: RequestSession, takes: Requirements = A_SESSION) -> Session:
    """The session of the request. A cookie comes from an own page, since all forms do."""
    strict = replace(asked.settings, cross_site_cookies=False)
    if credentials_of(asked.request, strict).denied is CROSS_SITE:
        raise asked.refuse(CROSS_SITE)
    own = await asked.required(takes)
    if own.ancestors:  # a child may do less than its parent
        raise asked.refuse(lacking(asked.settings.realm))
    return own


async def _end_login(asked: RequestSession, own: Session, id: str) -> bool:
    """End another login of the principal; False for an id of anybody else, or of nobody."""
    async for one in asked.store().sessions(principal=own.principal):
        if login_of(one) == id:
            await asked.store().revoke(handle=one.handle, **_noted(asked, own))
            return True
    return False


def _noted(asked: RequestSession, own: Session) -> dict[str, Any]:
    """What the history says of an end that was asked for on another device."""
    by = actor_of(own.principal)
    return {"reason": "signed out on another device", "actor": by, "context": asked.context()}


def _is_for_people(asked: RequestSession) -> bool:
    """Whether HTML is preferred to JSON (RFC 9110, section 12.5.1), as browsers do."""
    told = b",".join(value for name, value in asked.request.headers if name == b"accept")
    ranges = {name: float(q or 1) for name, q in _RANGE.findall(told.decode("latin-1").lower())}

    def weight(*names: str) -> float:
        return next((ranges[one] for one in names if one in ranges), 0.0)

    return weight("text/html", "text/*", "*/*") > weight("application/json", "application/*", "*/*")


def _json(value: object, status: int = 200) -> Reply:
    return Reply(msgspec.json.encode(value), status)


def _redirect(place: str) -> Reply:
    """To a path, or to one relative to the request's: routes may be below any prefix."""
    return Reply(status=303, headers={**_PRIVATE, "Location": place})
