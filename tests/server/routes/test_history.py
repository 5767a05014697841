"""`/v1/history` and `/v1/activity`: what happened, filtered and in pages, and how much."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from sessionledger import HistoryEntry
from tests.server.routes.test_sessions import MERGE, NEVER_SEEN
from tests.server.web import Web, problem

NOTHING: dict[str, object] = {"events": [], "cursor": None, "cut": 0}


def test_the_history_of_a_principal_is_told_in_pages(web: Web) -> None:
    handles = {web.create()["handle"] for _ in range(3)}
    web.create("bob")
    web("DELETE", f"/v1/sessions/{min(handles)}")
    whole = web("GET", "/v1/history?principal=alice").json()
    assert (len(whole["events"]), whole["cursor"]) == (4, None)
    assert {event["handle"] for event in whole["events"]} == handles
    first = web("GET", "/v1/history?principal=alice&limit=3").json()
    rest = web("GET", f"/v1/history?principal=alice&limit=3&after={first['cursor']}").json()
    assert (first["events"] + rest["events"], rest["cursor"]) == (whole["events"], None)
    assert web("GET", "/v1/history?principal=carol").json() == NOTHING
    assert problem(web("GET", "/v1/history?principal="))[::2] == (400, "principal")
    assert problem(web("GET", "/v1/history?principal=alice&limit=1001"))[0] == 400
    reading, other = web.make_key("reading", "sessions:read"), web.make_key("o", "sessions:write")
    assert web("GET", "/v1/history?principal=alice", token=reading).json() == whole
    assert web("GET", "/v1/history?principal=alice", token=other).status_code == 403


def test_a_history_is_told_in_pages(web: Web) -> None:
    made = web.create()
    for n in range(4):
        patched = {"attributes": {"n": n}}
        assert web(
            "PATCH", f"/v1/sessions/{made['handle']}", json=patched, headers=MERGE
        ).is_success
    path = f"/v1/history/{made['handle']}"
    whole = web("GET", path).json()
    assert (len(whole["events"]), whole["cursor"]) == (5, None)
    first = web("GET", f"{path}?limit=3").json()
    assert (first["events"], first["cursor"]) == (
        whole["events"][:3],
        first["events"][-1]["event_id"],
    )
    rest = web("GET", f"{path}?limit=3&after={first['cursor']}").json()
    assert (rest["events"], rest["cursor"]) == (whole["events"][3:], None)
    last = whole["events"][-1]["event_id"]
    assert web("GET", f"{path}?after={last}").json() == NOTHING
    assert problem(web("GET", f"{path}?limit=0"))[0] == 400
    assert problem(web("GET", f"{path}?after=x"))[::2] == (400, "after")


def test_the_history_of_everybody_is_filtered_and_turned_round(web: Web) -> None:
    first, second = web.create("alice"), web.create("bob")
    ending = web.make_key("support", "sessions:revoke")
    web("DELETE", f"/v1/sessions/{first['handle']}?reason=stolen", token=ending)
    whole = web("GET", "/v1/history").json()
    told = [(event["kind"], event["principal"]) for event in whole["events"]]
    created = [("session_created", "alice"), ("session_created", "bob")]
    assert told == [*created, ("session_expired", "alice")]
    turned = web("GET", "/v1/history?newest_first=true").json()
    assert turned == whole | {"events": whole["events"][::-1]}
    for asked, count in (
        ("actor=support", 1),
        ("kind=session_created", 2),
        ("cause=revoked&principal=alice", 1),
        ("cause=lapsed", 0),
        ("since=2000-01-01T00:00:00Z&until=2001-01-01T00:00:00%2B01:00", 0),
        ("since=2000-01-01T00:00:00Z", 3),
    ):
        assert len(web("GET", f"/v1/history?{asked}").json()["events"]) == count
    page = web("GET", "/v1/history?kind=session_created&newest_first=true&limit=1").json()
    assert [event["handle"] for event in page["events"]] == [second["handle"]]
    path = f"/v1/history?kind=session_created&newest_first=true&after={page['cursor']}"
    assert [event["handle"] for event in web("GET", path).json()["events"]] == [first["handle"]]


def test_the_history_of_a_handle_takes_the_same_filters(web: Web) -> None:
    made = web.create()
    path = f"/v1/history/{made['handle']}"
    web("DELETE", f"/v1/sessions/{made['handle']}")
    (end,) = web("GET", f"{path}?cause=revoked&newest_first=true").json()["events"]
    assert end["kind"] == "session_expired"
    assert web("GET", f"{path}?cause=lapsed").json() == NOTHING
    assert problem(web("GET", f"/v1/history/{NEVER_SEEN}?cause=lapsed"))[0] == 404


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ("history?kind=login", 422, "kind"),
        ("history?cause=boredom", 422, "cause"),
        ("history?since=yesterday", 400, "since"),
        ("history?since=2026-05-02T12:00:00", 422, "since"),
        ("history?newest_first=perhaps", 400, "newest_first"),
        ("history?whose=alice", 400, "whose"),
        ("activity", 400, "since"),
        ("activity?since=2026-05-02T12:00:00Z&per=week", 400, "per"),
        ("activity?since=1999-05-02T12:00:00Z", 422, "since"),
        ("activity?since=2026-05-02T12:00:00Z&until=2026-05-02T11:00:00Z", 422, "until"),
    ],
)
def test_what_can_t_be_asked_for_is_named(web: Web, asked: str, status: int, field: str) -> None:
    assert problem(web("GET", f"/v1/{asked}"))[::2] == (status, field)


def test_the_document_has_the_words_that_the_library_knows(web: Web) -> None:
    parameters = web("GET", "/openapi.json").json()["paths"]["/v1/history"]["get"]["parameters"]
    words = {one["name"]: one["schema"].get("enum") for one in parameters}
    assert words["kind"] == [*HistoryEntry.KINDS]
    assert words["cause"] == [*HistoryEntry.CAUSES]


def test_what_happened_is_counted_by_hours_and_days(web: Web) -> None:
    made = [web.create() for _ in range(3)]
    web("DELETE", f"/v1/sessions/{made[0]['handle']}")
    since = datetime.now(UTC) - timedelta(hours=2)
    for per in ("hour", "day"):
        asked = urlencode({"since": since.isoformat(), "per": per})
        told = web("GET", f"/v1/activity?{asked}").json()
        intervals = told["intervals"]
        assert sum(one["begun"] for one in intervals) == 3
        assert [one["ended"] for one in intervals if one["ended"]] == [{"revoked": 1}]
        assert told["counted_from"] == intervals[0]["begins_at"]
    reading, other = web.make_key("reading", "sessions:read"), web.make_key("o", "sessions:write")
    assert web("GET", f"/v1/activity?{asked}", token=reading).json() == told
    assert web("GET", f"/v1/activity?{asked}", token=other).status_code == 403
