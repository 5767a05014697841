"""Overview: how many sessions there are, what happened lately, and whether the ledger is well."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from litestar import get
from litestar.response import Template

from sessionledger.console.charts import Chart, stacked
from sessionledger.console.screens.feed import row_of
from sessionledger.console.screens.integrity import EXAMINE, VERIFY
from sessionledger.console.views import ANY, View, ViewDependency, needs

HOURS = 24
LATEST = 15


@get("/", opt=needs(ANY))
async def overview(view: ViewDependency) -> Template:
    """What the key may see of it."""
    may_read = view.may("sessions:read")
    return view.page(
        "overview.html",
        counts=await view.sessions.counts() if may_read else None,
        charts=await _charts(view) if may_read else None,
        latest=await _latest(view) if may_read and view.may("events:read") else [],
        stats=await view.console.stats() if view.may("events:read") else None,
        refusals=view.console.refusals(),
        verified=view.jobs.ended(VERIFY),
        examined=view.jobs.ended(EXAMINE),
        retention=view.settings.retention,
    )


async def _charts(view: View) -> dict[str, Any]:
    """What began and what ended in each of the last hours, with a table of the same."""
    since = datetime.now(UTC) - timedelta(hours=HOURS - 1)
    told = await view.sessions.activity(since=since)
    begun: Chart = stacked(
        [
            (one.begins_at, {"begun": one.begun, "rotated": one.rotated, "child": one.children})
            for one in told.intervals
        ],
        ("begun", "child", "rotated"),
        view.zone,
    )
    ended: Chart = stacked(
        [(one.begins_at, one.ended) for one in told.intervals],
        ("signed_out", "lapsed", "rotated", "evicted", "parent_ended", "revoked", "everybody"),
        view.zone,
    )
    return {
        "begun": begun,
        "ended": ended,
        "intervals": told.intervals,
        "reused": sum(one.reused for one in told.intervals),
        "counted_from": told.counted_from,
        "is_whole": told.counted_from <= told.intervals[0].begins_at,
    }


async def _latest(view: View) -> list[dict[str, Any]]:
    listing = view.sessions.history(newest_first=True, page_size=LATEST)
    page = await anext(listing.pages())
    return [{**row_of(entry, view), "occurred_at": entry.occurred_at} for entry in page.entries]


ROUTES = [overview]
