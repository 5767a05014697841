"""Many sessions: pages, and ends by principal and external id."""

from __future__ import annotations

import httpx
import pytest

from tests.server.web import Web, problem

MERGE = {"Content-Type": "application/merge-patch+json"}


def handles(web: Web, query: str) -> list[str]:
    found: list[str] = []
    cursor = ""
    while True:
        page = web("GET", f"/v1/sessions?{query}{cursor}").json()
        found += [session["handle"] for session in page["sessions"]]
        if page["cursor"] is None:
            return found
        cursor = f"&cursor={page['cursor']}"


def test_pages_go_on_where_the_last_one_ended(web: Web) -> None:
    made = [web.create("alice")["handle"] for _ in range(5)]
    web.create("bob")
    assert handles(web, "principal=alice&limit=2") == made
    assert len(handles(web, "limit=4")) == 6


def test_those_that_are_over_are_listed_when_asked_for(web: Web) -> None:
    made = [web.create("alice")["handle"] for _ in range(3)]
    web("DELETE", f"/v1/sessions/{made[1]}")
    assert handles(web, "principal=alice") == [made[0], made[2]]
    assert handles(web, "principal=alice&state=all") == made


def test_a_listing_is_newest_first_of_a_state_and_an_address_if_asked(web: Web) -> None:
    made = [web.create("alice", context={"address": f"192.0.2.{n}"})["handle"] for n in range(3)]
    web("DELETE", f"/v1/sessions/{made[1]}")
    assert handles(web, "newest_first=true") == [made[2], made[0]]
    assert handles(web, "state=ended&newest_first=true&limit=1") == [made[1]]
    assert handles(web, "address=192.0.2.0/31&state=all&newest_first=true") == made[1::-1]
    assert handles(web, "begun_after=2999-01-01T00:00:00Z") == []
    counts = web("GET", "/v1/counts").json()
    assert [counts[state] for state in ("live", "lapsed", "ended")] == [2, 0, 1]
    assert web("GET", "/v1/sessions?state=gone").json()["field"] == "state"


def test_no_listing_holds_a_token(web: Web) -> None:
    made = web.create("alice")
    assert made["token"] not in web("GET", "/v1/sessions").text


@pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "newest_first=maybe"])
def test_a_parameter_that_can_t_be_taken_is_named(web: Web, query: str) -> None:
    field = query.partition("=")[0]
    assert problem(web("GET", f"/v1/sessions?{query}")) == (400, "invalid_request", field)


def test_a_cursor_of_nobody_is_named(web: Web) -> None:
    answer = web("GET", "/v1/sessions?cursor=zz")
    assert problem(answer) == (422, "invalid_session", "cursor")


def test_all_of_a_principal_end_but_those_to_keep(web: Web) -> None:
    made = [web.create("alice") for _ in range(4)]
    other = web.create("bob")
    kept = f"keep={made[0]['handle']}&keep={made[2]['handle']}"
    answer = web("DELETE", f"/v1/sessions?principal=alice&{kept}&reason=lost")
    assert (answer.status_code, answer.json()) == (200, {"ended": 2})
    statuses = [web("GET", "/v1/session", token=one["token"]).status_code for one in made]
    assert statuses == [200, 401, 200, 401]
    assert web("GET", "/v1/session", token=other["token"]).status_code == 200


def test_all_with_an_external_id_end(web: Web) -> None:
    made = web.create("alice", external_id="sid-1")
    web.create("alice", external_id="sid-2")
    assert handles(web, "external_id=sid-1") == [made["handle"]]
    assert web("DELETE", "/v1/external-sessions?external_id=sid-1").json() == {"ended": 1}
    assert len(handles(web, "principal=alice")) == 1


def test_nobody_is_ended_without_being_named(web: Web) -> None:
    web.create("alice")
    assert problem(web("DELETE", "/v1/sessions")) == (400, "invalid_request", "principal")
    assert problem(web("DELETE", "/v1/sessions?principal=alice&keep=x"))[2] == "keep"
    assert len(handles(web, "")) == 1


def test_stats_count_and_name_no_path(web: Web) -> None:
    web.create("alice")
    told = web("GET", "/v1/stats").json()
    assert (told["events"], told["sessions"], told["live"]) == (1, 1, 1)
    assert "location" not in told


def test_one_browser_is_one_entry_unless_the_rest_is_asked_for(web: Web) -> None:
    made = web.create()
    fresh = web("POST", "/v1/session/rotate", token=made["token"]).json()
    shown = web("GET", "/v1/sessions?principal=alice").json()["sessions"]
    assert [one["handle"] for one in shown] == [fresh["handle"]]
    rest = web("GET", "/v1/sessions?principal=alice&superseded=true").json()["sessions"]
    assert [one["handle"] for one in rest] == [made["handle"], fresh["handle"]]
    assert web("GET", "/v1/stats").json()["live"] == 1


def test_those_that_meet_the_criteria_end(web: Web) -> None:
    made = [web.create(name, external_id="sid-1") for name in ("alice", "bob", "carol")]
    told = {"principals": ["alice", "bob"], "external_id": "sid-1", "reason": "left"}
    counted = web("POST", "/v1/revocations", json=told | {"dry_run": True})
    assert (counted.status_code, counted.json()) == (200, {"ended": 2})
    assert len(handles(web, "")) == 3
    assert web("POST", "/v1/revocations", json=told).json() == {"ended": 2}
    assert handles(web, "") == [made[2]["handle"]]
    (*_, end) = web("GET", f"/v1/history/{made[0]['handle']}").json()["events"]
    assert (end["cause"], end["reason"], end["actor"]) == ("revoked", "left", "root")


@pytest.mark.parametrize(
    ("told", "status", "field"),
    [
        ({}, 422, "criteria"),
        ({"dry_run": True}, 422, "criteria"),
        ({"address_in": "office"}, 422, "address_in"),
        ({"attributes": {}}, 422, "attributes"),
        ({"principals": []}, 400, "principals"),
        ({"begun_before": "2020-01-01T00:00:00"}, 400, "begun_before"),
        ({"principal": "alice"}, 400, "principal"),
    ],
)
def test_criteria_that_can_t_be_taken_are_named(
    web: Web, told: dict[str, object], status: int, field: str
) -> None:
    web.create("alice")
    answer = web("POST", "/v1/revocations", json=told)
    assert (problem(answer)[0], problem(answer)[2]) == (status, field)
    assert len(handles(web, "")) == 1


def test_everybody_s_sessions_end_by_one_event(web: Web) -> None:
    made = [web.create(name) for name in ("alice", "bob")]
    told = web("DELETE", "/v1/all-sessions?reason=leak").json()
    assert (told["kind"], told["handle"]) == ("everybody_revoked", None)
    assert (told["cause"], told["reason"]) == ("everybody", "leak")
    for one in made:
        assert web("GET", "/v1/session", token=one["token"]).status_code == 401
    assert handles(web, "") == []


def test_a_person_is_erased_with_the_record_of_the_request(web: Web) -> None:
    def begin() -> httpx.Response:
        headers = {"Idempotency-Key": "form-1"}
        return web("POST", "/v1/sessions", json={"principal": "alice"}, headers=headers)

    made = begin().json()
    other = web.create("bob")
    web(
        "PATCH",
        f"/v1/sessions/{other['handle']}",
        json={"attributes": {"boss": "alice"}},
        headers=MERGE,
    )
    key = web.make_key("eraser", "sessions:erase")
    answer = web("POST", "/v1/erasures", token=key, json={"principal": "alice"})
    found = answer.json()
    assert (answer.status_code, found["sessions"], found["pending"]) == (200, 2, [])
    assert [one["where"] for one in found["mentions"]] == [["payload"]]
    assert web("GET", "/v1/session", token=made["token"]).status_code == 401
    assert handles(web, "") == [other["handle"]]
    assert problem(begin())[:2] == (409, "idempotency_key_spent")
    stats = web("GET", "/v1/stats").json()
    assert (stats["erased"] > 0, stats["erasure_pending"]) == (True, False)


@pytest.mark.parametrize("told", [{}, {"principal": "alice", "handle": "sha256:v1:" + "0" * 64}])
def test_one_person_is_named_to_be_erased(web: Web, told: dict[str, object]) -> None:
    web.create("alice")
    answer = web("POST", "/v1/erasures", token=web.make_key("e", "sessions:erase"), json=told)
    assert problem(answer)[0] == 422
    assert len(handles(web, "")) == 1
