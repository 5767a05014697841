"""An incident: count sessions by criteria, look at some, and end them; or log everybody out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_network
from itertools import islice
from typing import Any

import msgspec
from litestar import get, post
from litestar.exceptions import ClientException
from litestar.response import Redirect, Template

from sessionledger import AsyncSessionStore, InvalidSession, Session
from sessionledger.console.jobs import Job, Told
from sessionledger.console.told import as_text, told_of
from sessionledger.console.views import View, ViewDependency, needs

PATH = "/incident"
COUNT, END = "count", "end"
"""The kinds of jobs."""
EVERYBODY = "everybody"
"""What is typed to log everybody out."""
SAMPLE, MOST_LOOKED_AT = 20, 20_000
_TIMES = ("begun_after", "begun_before", "last_seen_after", "last_seen_before")
_SCOPE = "sessions:revoke_everybody"


class Counted(msgspec.Struct, frozen=True):
    """How many logins met some criteria, and some of their sessions."""

    criteria: Mapping[str, Any]
    count: int
    sample: list[Session]


async def count(store: AsyncSessionStore, criteria: Mapping[str, Any], told: Told) -> Counted:
    """Count the logins that would end, and find some of their sessions."""
    counted = await store.revoke_where(**criteria, dry_run=True, progress=told)
    return Counted(criteria, counted, await _sample(store, criteria) if counted else [])


async def _sample(store: AsyncSessionStore, criteria: Mapping[str, Any]) -> list[Session]:
    """The newest ones among the sessions that were begun last."""
    principals = criteria.get("principals", ())
    listing = store.sessions(
        principal=principals[0] if len(principals) == 1 else None,
        external_id=criteria.get("external_id"),
        address=criteria.get("address_in"),
        begun_after=criteria.get("begun_after"),
        begun_before=criteria.get("begun_before"),
        newest_first=True,
    )
    found: list[Session] = []
    looked_at = 0
    async for session in listing:
        looked_at += 1
        if _meets(session, criteria):
            found.append(session)
        if len(found) == SAMPLE or looked_at == MOST_LOOKED_AT:
            break
    return found


def _meets(session: Session, criteria: Mapping[str, Any]) -> bool:
    """Whether a session meets those of the criteria that no listing takes."""
    principals = criteria.get("principals")
    after, before = criteria.get("last_seen_after"), criteria.get("last_seen_before")
    attributes = criteria.get("attributes", {})
    return (
        (not principals or session.principal in principals)
        and (after is None or session.last_seen_at >= after)
        and (before is None or session.last_seen_at < before)
        and all(session.attributes.get(name) == value for name, value in attributes.items())
    )


@get(PATH, opt=needs(_SCOPE))
async def incident_page(view: ViewDependency) -> Template:
    """The form, and what the last count found."""
    counted, ended = view.jobs.ended(COUNT), view.jobs.ended(END)
    is_stale = counted and ended and counted.begun_at < ended.begun_at
    return view.page(
        "incident.html",
        times=_TIMES,
        job=view.jobs.running,
        counted=None if is_stale else _own(view, counted),
        ended=ended,
        everybody=EVERYBODY,
        told_of=told_of,
        as_text=as_text,
    )


@post(f"{PATH}/count", opt=needs(_SCOPE))
async def begin_count(view: ViewDependency) -> Redirect:
    """Count in the background what the form asks for."""
    criteria = criteria_of(view)
    if not criteria:
        raise InvalidSession("criteria", "must hold at least one, or end everybody's sessions")
    store = view.sessions
    live = (await store.counts()).live
    begun = view.jobs.start(
        COUNT, view.operator.name, lambda told: count(store, criteria, told), live
    )
    return view.go(PATH, "" if begun else "Another job is under way. Wait for its end.")


@post(f"{PATH}/end", opt=needs(_SCOPE))
async def begin_end(view: ViewDependency) -> Redirect:
    """End in the background what was counted. The count is typed, to show that it was read."""
    job = _own(view, view.jobs.ended(COUNT))
    if job is None or view.form.get("begun_at") != job.begun_at.isoformat() or job.failure:
        raise ClientException("Something else was counted since. Read that count first.")
    counted: Counted = job.result
    if view.form.get("typed", "").strip() != str(counted.count):
        raise ClientException(f"Type the count, {counted.count}, to end these sessions.")
    store, said = view.sessions, view.said(view.form.get("reason"))

    async def end(told: Told) -> int:
        return await store.revoke_where(**counted.criteria, **said, progress=told)

    begun = view.jobs.start(END, view.operator.name, end, counted.count)
    return view.go(PATH, "" if begun else "Another job is under way. Wait for its end.")


@post(f"{PATH}/everybody", opt=needs(_SCOPE))
async def end_everybody(view: ViewDependency) -> Redirect:
    """End every session by one event."""
    if view.form.get("typed", "").strip() != EVERYBODY:
        raise ClientException(f"Type “{EVERYBODY}” to end every session.")
    told = await view.sessions.revoke_everybody(**view.said(view.form.get("reason")))
    return view.go(PATH, f"Every session is ended, by event {told.event_id}.")


def _own(view: View, job: Job | None) -> Job | None:
    """A count that this key made. Others may not end by it."""
    return job if job is not None and job.by == view.operator.name else None


def criteria_of(view: View) -> dict[str, Any]:
    """What the form asks for. Raises `InvalidSession`."""
    form = {name: value.strip() for name, value in view.form.items()}
    told: dict[str, Any] = {}
    if names := form.get("principals", "").split("\n"):
        told["principals"] = [name.strip() for name in names if name.strip()]
    for name in ("external_id", "address_in"):
        told[name] = form.get(name, "")
    for name in _TIMES:
        told[name] = _instant(view, name, form.get(name, ""))
    told["attributes"] = _attributes(form.get("attributes", ""))
    try:
        ip_network(told["address_in"] or "::")
    except ValueError:
        raise InvalidSession("address_in", "must be an address or a network") from None
    return {name: value for name, value in told.items() if value}


def _instant(view: View, name: str, text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text).replace(tzinfo=view.zone) if text else None
    except ValueError:
        raise InvalidSession(name, "must be a date and a time, as 2026-01-31T12:00 is") from None


def _attributes(text: str) -> dict[str, Any]:
    """A line for each: a name, “=”, and its value as JSON, or as text if it is no JSON."""
    told: dict[str, Any] = {}
    for line in filter(None, map(str.strip, islice(text.split("\n"), 100))):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not name:
            raise InvalidSession("attributes", "must be lines such as role = admin")
        try:
            told[name] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            told[name] = value
    return told


ROUTES = [incident_page, begin_count, begin_end, end_everybody]
