"""/v1/sessions: what applications and administrators do."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from msgspec import structs

from sessionledger import Policy
from sessionledger.server import create_app
from sessionledger.server.service.keys import SCOPES
from tests.server.conftest import SETTINGS
from tests.server.web import JSON, Web, problem

NEVER_SEEN = "sha256:v1:" + "0" * 64
MERGE = {"Content-Type": "application/merge-patch+json"}


def path(session: dict[str, str]) -> str:
    return f"/v1/sessions/{session['handle']}"


def patched(web: Web, session: dict[str, str], changes: str, **headers: str) -> int:
    body = f'{{"attributes":{changes}}}'
    return web("PATCH", path(session), content=body, headers=MERGE | headers).status_code


def test_creating_answers_the_token_once(web: Web) -> None:
    answer = web(
        "POST",
        "/v1/sessions",
        json={
            "principal": "alice",
            "ttl": 3600,
            "idle_timeout": 600,
            "attributes": {"cart": [2**70]},
            "external_id": "sid",
            "reason": "signed in",
            "context": {"device": "phone"},
        },
    )
    made = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == path(made)
    assert answer.headers["etag"] == f'"{made["version"]}"'
    assert answer.headers["cache-control"] == "no-store"
    assert made.pop("token").startswith("harn_sess_")
    assert made["state"] == "live"
    assert (made["idle_timeout"], made["attributes"]) == (600, {"cart": [2**70]})
    assert web("GET", path(made)).json() == made
    events = web("GET", path(made).replace("sessions", "history")).json()["events"]
    assert [(e["kind"], e["reason"], e["actor"]) for e in events] == [
        ("session_created", "signed in", "root")
    ]


def test_finding_or_creating_begins_a_session_once(web: Web) -> None:
    asked = {"principal": "alice", "external_id": "cart", "ttl": 3600, "attributes": {"a": 1}}
    begun = web("POST", "/v1/sessions/find-or-create", json=asked)
    made = begun.json()
    assert (begun.status_code, begun.headers["location"]) == (201, path(made))
    assert made.pop("token").startswith("harn_sess_")
    found = web("POST", "/v1/sessions/find-or-create", json=asked | {"attributes": {"a": 2}})
    assert (found.status_code, found.json()) == (200, made)
    assert found.headers["etag"] == begun.headers["etag"]
    assert found.headers["cache-control"] == begun.headers["cache-control"] == "no-store"
    events = web("GET", path(made).replace("sessions", "history")).json()["events"]
    assert [event["actor"] for event in events] == ["root"], "finding it wrote nothing"
    web("DELETE", path(made))
    again = web("POST", "/v1/sessions/find-or-create", json=asked)
    assert (again.status_code, again.json()["handle"] == made["handle"]) == (201, False)


@pytest.mark.parametrize(
    ("more", "status", "field"),
    [
        ({"external_id": None}, 400, "external_id"),
        ({"external_id": " "}, 422, "external_id"),
        ({"principal": "anonymous:"}, 422, "principal"),
        ({"parent": NEVER_SEEN}, 400, "parent"),
        ({"expires_at": "soon"}, 400, "expires_at"),
        ({"zz": 1}, 400, "zz"),
    ],
)
def test_what_can_t_be_found_or_created_is_refused(
    web: Web, more: dict[str, object], status: int, field: str
) -> None:
    asked = {"principal": "alice", "external_id": "cart"} | more
    answer = web("POST", "/v1/sessions/find-or-create", json=asked)
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    assert web("GET", "/v1/stats").json()["events"] == 0


def test_an_explicit_end_is_taken(web: Web) -> None:
    end = datetime.now(UTC) + timedelta(hours=1)
    made = web.create(expires_at=end.isoformat())
    assert datetime.fromisoformat(made["expires_at"]) == end


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ('{"principal":5}', 400, "principal"),
        ('{"principal":"a","ttl":"5"}', 400, "ttl"),
        ('{"principal":"a","ttl":0}', 400, "ttl"),
        ('{"principal":"a","zz":1}', 400, "zz"),
        ('{"principal":"a","expires_at":"2030-01-01T00:00:00"}', 400, "expires_at"),
        ('{"principal":"a","expires_at":"soon"}', 400, "expires_at"),
        ('{"principal":"a","context":{"a":1}}', 400, "context"),
        ("{}", 400, "principal"),
        ("{", 400, "body"),
        ("", 400, "body"),
        ("[]", 400, "body"),
        ('{"principal":"a","attributes":{"a":' + "[" * 60_000 + "]" * 60_000 + "}}", 400, "body"),
        ('{"principal":"\\ud800"}', 400, "body"),
        ('{"principal":"a\\u0000b"}', 422, "principal"),
        ('{"principal":" "}', 422, "principal"),
        ('{"principal":"a","attributes":' + '{"a":' * 70 + "1" + "}" * 71, 422, "attributes"),
        ('{"principal":"a","expires_at":"2001-01-01T00:00:00Z"}', 422, "expires_at"),
        ('{"principal":"a","ttl":1,"expires_at":"2101-01-01T00:00:00Z"}', 422, "ttl"),
    ],
)
def test_a_body_that_can_t_be_taken_names_the_field(
    web: Web, body: str, status: int, field: str
) -> None:
    answer = web("POST", "/v1/sessions", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json().get("field")) == (status, field), answer.text
    assert problem(answer)


def test_bytes_that_are_no_text_are_refused(web: Web) -> None:
    json = {"Content-Type": "application/json"}
    answer = web("POST", "/v1/sessions", content=b'{"principal":"\xff"}', headers=json)
    assert problem(answer) == (400, "invalid_request", "body")


@pytest.mark.parametrize(
    ("method", "kind"), [("POST", "text/plain"), ("POST", ""), ("PATCH", "application/json")]
)
def test_another_media_type_is_refused(web: Web, method: str, kind: str) -> None:
    target = "/v1/sessions" if method == "POST" else path(web.create())
    answer = web(method, target, content="{}", headers={"Content-Type": kind})
    assert problem(answer) == (415, "unsupported_media_type", "Content-Type")


def test_a_body_may_be_so_large(web: Web) -> None:
    answer = web(
        "POST",
        "/v1/sessions",
        content=b" " * 200_000,
        headers={"Content-Type": "application/json"},
    )
    assert problem(answer) == (413, "too_large", None)


def test_a_token_in_the_wrong_place_is_not_repeated(web: Web) -> None:
    token = web.create()["token"]
    for told in ({"principal": token}, {"principal": "a", token: 1}):
        answer = web("POST", "/v1/sessions", json=told)
        assert 400 <= answer.status_code < 500
        assert token not in answer.text


def test_patching_merges_into_the_attributes(web: Web) -> None:
    made = web.create(attributes={"a": 1, "b": {"c": 2}})
    answer = web(
        "PATCH",
        path(made) + "?reason=because",
        content='{"attributes":{"a":null,"b":{"d":3}}}',
        headers=MERGE,
    )
    assert answer.json()["attributes"] == {"b": {"c": 2, "d": 3}}
    assert answer.headers["etag"] == '"2"'
    told = web("GET", path(made).replace("sessions", "history")).json()["events"][-1]
    assert (told["reason"], told["actor"]) == ("because", "root")


@pytest.mark.parametrize(
    ("tags", "status"),
    [
        ('"1"', 200),
        ("*", 200),
        ('"1", "7"', 200),
        ('W/"1"', 412),
        ('"2"', 412),
        ('"2", "3"', 412),
        ('"x"', 412),
        ("1", 400),
        ("", 412),
    ],
)
def test_patching_under_a_condition(web: Web, tags: str, status: int) -> None:
    made = web.create()
    assert patched(web, made, '{"a":1}', **{"If-Match": tags}) == status
    expected = {"a": 1} if status == 200 else {}
    assert web("GET", path(made)).json()["attributes"] == expected


def test_what_is_not_live_is_not_told_apart(web: Web) -> None:
    revoked, lapsed = web.create(), web.create()
    web("DELETE", path(revoked))
    web.run(lambda: web.ledger.sessions.revoke(handle=lapsed["handle"]))
    answers = [web("GET", target) for target in (path(revoked), path(lapsed))]
    answers.append(web("GET", f"/v1/sessions/{NEVER_SEEN}"))
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.text for answer in answers}) == 1


def test_ending_again_appends_nothing(web: Web) -> None:
    made = web.create()
    first = web("DELETE", path(made) + "?reason=lost").json()
    again = web("DELETE", path(made) + "?reason=again").json()
    assert first["state"] == "ended"
    assert again == first
    assert web("GET", "/v1/stats").json()["events"] == 2
    assert web("GET", "/v1/session", token=made["token"]).status_code == 401


def test_a_handle_never_seen_can_t_be_ended(web: Web) -> None:
    assert problem(web("DELETE", f"/v1/sessions/{NEVER_SEEN}"))[0] == 404
    assert problem(web("GET", f"/v1/history/{NEVER_SEEN}"))[0] == 404


@pytest.mark.parametrize("wrong", ["x", "sha256:v1:" + "A" * 64, "sha256:v1:" + "a" * 65])
def test_what_is_no_handle_is_named(web: Web, wrong: str) -> None:
    assert problem(web("GET", f"/v1/sessions/{wrong}")) == (400, "invalid_request", "handle")


def test_one_session_may_be_written_so_often(web: Web) -> None:
    made = web.create()
    statuses = [patched(web, made, f'{{"n":{n}}}') for n in range(125)]
    assert statuses[:120] == [200] * 120
    assert 429 in statuses[120:]
    assert web("DELETE", path(made)).status_code == 200, "an end is never refused"


def test_a_limit_of_sessions_is_a_conflict() -> None:
    policy = Policy(max_sessions_per_principal=1)
    with Web(create_app(structs.replace(SETTINGS, policy=policy))) as web:
        web.create("alice")
        answer = web("POST", "/v1/sessions", json={"principal": "alice"})
        assert problem(answer) == (409, "session_limit_reached", None)


def test_a_proof_is_recorded_by_handle_and_opens_the_door_again(web: Web) -> None:
    session = web.create("alice")
    asked = "/auth?max_auth_age=3600"
    assert web("GET", asked, token=session["token"]).status_code == 200
    proof = {"reason": "passkey", "context": {"device": "phone"}}
    proved = web("POST", f"{path(session)}/reauthenticate", json=proof)
    assert (proved.status_code, proved.headers["etag"]) == (200, '"2"')
    assert proved.json()["authenticated_at"] > session["authenticated_at"]
    assert "token" not in proved.json()
    last = web("GET", f"/v1/history/{session['handle']}").json()["events"][-1]
    assert (last["reason"], last["actor"], last["context"]) == ("passkey", "root", proof["context"])


def test_a_touch_by_handle_moves_the_end(web: Web) -> None:
    session = web.create("alice", attributes={"a": 1})
    touched = web("POST", f"{path(session)}/touch", json={"expires_at": "never"})
    assert (touched.status_code, touched.headers["etag"]) == (200, '"2"')
    assert touched.json()["expires_at"] == "9999-12-31T00:00:00.000000Z"
    body = {"ttl": 60, "attributes": {}, "reason": "seen", "context": {"device": "phone"}}
    again = web("POST", f"{path(session)}/touch", json=body).json()
    assert (again["expires_at"], again["attributes"]) < (touched.json()["expires_at"], {"a": 1})
    last = web("GET", f"/v1/history/{session['handle']}").json()["events"][-1]
    assert (last["reason"], last["actor"], last["context"]) == ("seen", "root", {"device": "phone"})
    ended = web("POST", f"{path(session)}/touch", json={"ttl": 0}).json()
    assert (ended["state"], ended["cause"]) == ("ended", "revoked")


@pytest.mark.parametrize(
    ("end", "status"),
    [("soon", 400), ("2030-01-31T12:00:00", 400), ("", 400), ("2020-01-01T00:00:00Z", 422)],
)
def test_an_end_that_can_t_be_taken_is_refused_and_changes_nothing(
    web: Web, end: str, status: int
) -> None:
    session = web.create("alice")
    answers = [
        web("POST", "/v1/sessions", json={"principal": "bob", "expires_at": end}),
        web("POST", f"{path(session)}/touch", json={"expires_at": end}),
        web("PATCH", path(session), content=json.dumps({"expires_at": end}), headers=MERGE),
    ]
    assert [answer.json()["field"] for answer in answers] == ["expires_at"] * 3
    assert [answer.status_code for answer in answers] == [status] * 3
    assert web("GET", path(session)).json()["version"] == 1


def test_a_patch_moves_the_end_in_one_event_and_zero_ends_it(web: Web) -> None:
    session = web.create("alice")
    told = {"attributes": {"a": 1}, "expires_at": "never"}
    patched = web("PATCH", path(session), content=json.dumps(told), headers=MERGE).json()
    assert (patched["version"], patched["attributes"]) == (2, {"a": 1})
    assert patched["expires_at"].startswith("9999-")
    ended = web("PATCH", path(session), content='{"ttl":0}', headers=MERGE).json()
    assert (ended["state"], ended["cause"]) == ("ended", "revoked")


def test_at_a_log_in_the_session_gets_another_token_and_principal(web: Web) -> None:
    visitor = web.create("anonymous:", attributes={"basket": ["tea"], "greeting": "hello"})
    assert visitor["principal"].startswith("anonymous:")
    told = {"principal": "alice", "changes": {"greeting": None, "role": "buyer"}}
    answer = web("POST", f"{path(visitor)}/rotate", json=told | {"reason": "signed in"})
    issued = answer.json()
    assert answer.headers["location"] == path(issued)
    assert issued["principal"] == "alice"
    assert issued["attributes"] == {"basket": ["tea"], "role": "buyer"}
    events = web("GET", f"/v1/history/{issued['handle']}").json()["events"]
    assert len(events) == 1, "the changes are part of the new session's beginning"
    assert web("GET", "/v1/session", token=issued["token"]).json()["principal"] == "alice"
    # What somebody may have planted before the log in is, for its grace, the visitor's.
    old = web("GET", "/v1/session", token=visitor["token"])
    assert (old.status_code, old.json()["principal"]) == (200, visitor["principal"])


@pytest.mark.parametrize(("grace", "status"), [(60, 200), (0, 401)])
def test_the_old_token_is_good_for_the_grace(web: Web, grace: int, status: int) -> None:
    session = web.create("alice")
    assert web("POST", f"{path(session)}/rotate", json={"grace": grace}).status_code == 200
    assert web("GET", "/v1/session", token=session["token"]).status_code == status


def test_a_new_password_leaves_one_session_with_a_new_token(web: Web) -> None:
    here, elsewhere = web.create(attributes={"a": 1}), web.create()
    answer = web("POST", f"{path(here)}/change-credentials", json={"reason": "password changed"})
    changed = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (changed["family"], changed["attributes"]) == (None, {"a": 1})
    assert changed["authenticated_at"] > here["authenticated_at"]
    for made in (here, elsewhere):
        for call in ("session", "session/rotate"):
            method = "GET" if call == "session" else "POST"
            answer = web(method, f"/v1/{call}", token=made["token"])
            assert problem(answer) == (401, "invalid_token", None)
    assert web("GET", "/v1/session", token=changed["token"]).status_code == 200
    again = web("POST", f"{path(here)}/change-credentials", json={})
    assert problem(again) == (404, "not_found", None)


def test_a_key_that_may_not_revoke_changes_no_credentials(web: Web) -> None:
    made, key = web.create(), web.make_key("rotator", "sessions:rotate")
    answer = web("POST", f"{path(made)}/change-credentials", token=key, json={})
    assert problem(answer) == (403, "insufficient_scope", None)
    assert web("GET", "/v1/session", token=made["token"]).status_code == 200


@pytest.mark.parametrize("call", ["rotate", "reauthenticate"])
def test_what_is_over_is_neither_proved_nor_rotated(web: Web, call: str) -> None:
    session = web.create("alice")
    web("DELETE", path(session))
    for handle in (session["handle"], NEVER_SEEN):
        answer = web("POST", f"/v1/sessions/{handle}/{call}", json={})
        assert problem(answer) == (404, "not_found", None)
    assert problem(web("POST", f"{path(session)}/{call}", json={"ttl": 1}))[2] == "ttl"


@pytest.mark.parametrize(
    ("call", "scope"), [("rotate", "sessions:rotate"), ("reauthenticate", "sessions:write")]
)
def test_each_takes_its_right(web: Web, call: str, scope: str) -> None:
    session = web.create("alice")
    others = [one for one in SCOPES if one != scope]
    for name, scopes, status in (("one", (scope,), 200), ("rest", others, 403)):
        key = web.make_key(name, *scopes)
        assert web("POST", f"{path(session)}/{call}", token=key, json={}).status_code == status


def test_no_child_is_begun_where_none_can_be(web: Web) -> None:
    parent, ended = web.create(attributes={"scope": "read write", "tenant": 7}), web.create()
    web("DELETE", path(ended))
    key = web.run(lambda: web.ledger.keys.authenticate(web.key))
    assert key is not None
    child = web.create(principal="bot", parent=parent["token"], attributes={"scope": "read"})
    head = web.run(lambda: web.ledger.sessions.head())
    wrong: list[tuple[JSON, str]] = [
        *(({"parent": ended[name]}, "parent") for name in ("token", "handle")),
        *(({"parent": named}, "parent") for named in (web.key, key.handle)),
        *(({"parent": named}, "parent") for named in (NEVER_SEEN, "harn_sess_" + "A" * 43)),
        *(({"parent": named}, "parent") for named in ("short", "sha256:v1:7", "")),
        ({"parent": parent["token"], "attributes": {"scope": "all"}}, "attributes"),
        ({"parent": parent["handle"], "attributes": {"tenant": 8}}, "attributes"),
        ({"parent": child["handle"], "attributes": {"scope": "write"}}, "attributes"),
    ]
    for body, field in wrong:
        answer = web("POST", "/v1/sessions", json={"principal": "bot", **body})
        assert (answer.status_code, answer.json()["field"]) == (422, field), body
        assert parent["token"] not in answer.text
        assert web.key not in answer.text
    answer = web("POST", "/v1/sessions", json={"principal": "bot", "parent": 7})
    assert problem(answer)[::2] == (400, "parent")
    assert patched(web, child, '{"scope": "read write x"}') == 422
    assert web.run(lambda: web.ledger.sessions.head()) == head


def test_a_child_that_would_be_too_deep_is_refused(web: Web) -> None:
    made = web.create()
    for _ in range(3):
        made = web.create(principal="bot", parent=made["handle"])
    answer = web("POST", "/v1/sessions", json={"principal": "bot", "parent": made["handle"]})
    assert problem(answer)[:2] == (409, "session_limit_reached")
    assert "4 sessions above it; 3 are allowed" in answer.text


def test_a_child_is_within_its_parent(web: Web) -> None:
    parent = web.create(attributes={"scope": "read write"})
    child = web.create(principal="bot", parent=parent["handle"], attributes={"scope": "read"})
    assert (child["parent"], parent["parent"]) == (parent["handle"], None)
    entries = web("GET", path(child).replace("sessions", "history")).json()["events"]
    above = {"family": parent["handle"], "principal": parent["principal"]}
    assert entries[0]["changes"]["ancestors"] == [above]
    assert web("DELETE", path(parent)).status_code == 200
    assert web("GET", path(child)).status_code == 404
