"""Integrity: the hash chain, its head for a witness, and what removed or replaced events."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec
from litestar import get, post
from litestar.exceptions import ClientException
from litestar.response import Redirect, Template

from sessionledger import AsyncSessionStore, Finding, Verification
from sessionledger.console.jobs import Told
from sessionledger.console.views import ViewDependency, needs

PATH = "/integrity"
MAX_LISTED = 200
_HEAD = re.compile(r"[A-Za-z0-9._-]+:[0-9]+:sha256:[0-9a-f]{64}", re.ASCII)
VERIFY, EXAMINE = "verify", "examine"
"""The kinds of jobs."""

RECORDED = {
    "history_sealed": "Old events removed",
    "erasure_listed": "A person erased",
    "ledger_restored": "Restored from a backup",
}


class Recorded(msgspec.Struct, frozen=True):
    """An event that removed or replaced others: its id, when it happened, and what it was."""

    id: int
    at: datetime
    what: str


class Verified(msgspec.Struct, frozen=True):
    """What a walk of the chain found. recorded: the newest ones, and how many there are."""

    verification: Verification
    recorded: list[Recorded]
    count: int


async def verify(store: AsyncSessionStore, expect: str | None, told: Told) -> Verified:
    """Walk the chain, and then the events once more for those that removed or replaced others."""
    found = await store.verify(expect=expect, progress=told)
    recorded = [
        Recorded(event.id, _at(event.occurred_at_ms), RECORDED[event.kind])
        async for event in store.events(after=found.cut)
        if event.kind in RECORDED
    ]
    return Verified(found, recorded[::-1][:MAX_LISTED], len(recorded))


def _at(milliseconds: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


@get(PATH, opt=needs("events:read"))
async def integrity_page(view: ViewDependency) -> Template:
    """The head, the last verification, and what removed events."""
    return view.page(
        "integrity.html",
        head=await view.sessions.head(),
        job=view.jobs.running,
        verified=view.jobs.ended(VERIFY),
        examined=view.jobs.ended(EXAMINE),
        stats=await view.console.stats(),
    )


@post(f"{PATH}/verify", opt=needs("events:read"))
async def begin_verification(view: ViewDependency) -> Redirect:
    """Verify the chain in the background."""
    store, expect = view.sessions, view.form.get("expect", "").strip() or None
    if expect is not None and not _HEAD.fullmatch(expect):
        raise ClientException("An earlier head is topic:id:hash, as this page shows the head.")
    total = (await store.head()).id
    begun = view.jobs.start(
        VERIFY, view.operator.name, lambda told: verify(store, expect, told), total
    )
    return view.go(PATH, "" if begun else "Another examination is under way. Wait for its end.")


@post(f"{PATH}/examine", opt=needs("events:read"))
async def begin_examination(view: ViewDependency) -> Redirect:
    """Find what is wrong with the ledger, in the background, as `sessionledger doctor` does."""
    store = view.sessions

    async def examine(told: Told) -> list[Finding]:
        return await store.diagnose(progress=told)

    begun = view.jobs.start(EXAMINE, view.operator.name, examine)
    return view.go(PATH, "" if begun else "Another examination is under way. Wait for its end.")


ROUTES = [integrity_page, begin_verification, begin_examination]
