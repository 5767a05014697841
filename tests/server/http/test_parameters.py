"""What is asked for beside the path: nothing that is not taken is passed over."""

from __future__ import annotations

import pytest

from tests.server.web import Web, problem

HANDLE = "sha256:v1:" + "0" * 64


@pytest.mark.parametrize(
    ("method", "path", "field"),
    [
        ("DELETE", f"/v1/sessions?principal=alice&kepp={HANDLE}", "kepp"),
        ("DELETE", "/v1/external-sessions?external_id=a&principal=alice", "principal"),
        ("GET", "/v1/sessions?principl=alice", "principl"),
        ("GET", f"/v1/sessions/{HANDLE}?x", "x"),
        ("GET", "/v1/session?token=secret", "token"),
        ("GET", "/v1/events?After=1", "After"),
        ("GET", f"/v1/stats?{'x' * 100}=1", "x" * 64),
    ],
)
def test_a_parameter_that_is_not_taken_is_named(
    web: Web, method: str, path: str, field: str
) -> None:
    token = web.create("bob")["token"] if path.startswith("/v1/session?") else None
    alice = web.create("alice")["token"]
    assert problem(web(method, path, token=token)) == (400, "invalid_request", field)
    assert web("GET", "/v1/session", token=alice).status_code == 200


def test_who_has_no_right_is_told_that_first(web: Web) -> None:
    assert web("GET", "/v1/stats?x=1", token="").status_code == 401


def test_health_may_be_asked_with_anything_that_defeats_a_cache(web: Web) -> None:
    assert web("GET", "/healthz?now=1", token="").status_code == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_health_may_be_asked_for_its_status_alone(web: Web, path: str) -> None:
    assert web("HEAD", path, token="").status_code == 200


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/v1/sessions/x", "handle: must be a handle: sha256:v1: and 64 lower-case hex digits"),
        ("/v1/events?after=x", "after: must be the id of an event, in digits"),
        ("/v1/sessions?limit=0", "limit: expected `int` >= 1"),
    ],
)
def test_what_is_wrong_is_said_in_words(web: Web, path: str, told: str) -> None:
    assert web("GET", path).json()["detail"] == told


@pytest.mark.parametrize(
    ("body", "told"),
    [(b"", "body: is required"), (b"{bad", "body: JSON is malformed")],
)
def test_what_is_wrong_with_a_body_is_said_in_words(web: Web, body: bytes, told: str) -> None:
    headers = {"Content-Type": "application/json"}
    answer = web("POST", "/v1/sessions", content=body, headers=headers)
    assert answer.json()["detail"].startswith(told)


MERGE = {"Content-Type": "application/merge-patch+json"}
DEEP = "[" * 100 + "]" * 100


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "field"),
    [
        ("POST", "/v1/sessions", {}, "{}", "principal"),
        ("POST", "/v1/sessions", {}, '{"principal": "a", "context": {"a": 1}}', "context"),
        ("POST", "/v1/sessions", {}, '{"principal":"a","attributes":{"a":1e999}}', "attributes"),
        ("POST", "/v1/sessions", {}, '{"principal": "a", "nope": {"a": 1}}', "nope"),
        ("POST", "/v1/sessions", {}, "[]", "body"),
        ("PATCH", "/v1/sessions/HANDLE", MERGE, '{"attributes": 1}', "attributes"),
        ("PATCH", "/v1/sessions/HANDLE", MERGE, f'{{"attributes": {{"a": {DEEP}}}}}', "attributes"),
        ("DELETE", "/v1/sessions?principal=a&keep=x", {}, "", "keep"),
        ("GET", "/v1/events?after=999999", {}, "", "after"),
        ("GET", "/v1/events", {"Last-Event-ID": "999999"}, "", "Last-Event-ID"),
        ("GET", "/v1/events?after=0", {"Last-Event-ID": "999999"}, "", "Last-Event-ID"),
        ("GET", "/v1/events", {"Last-Event-ID": "x"}, "", "Last-Event-ID"),
    ],
)
def test_the_field_at_fault_is_named_as_the_client_named_it(
    web: Web, method: str, path: str, headers: dict[str, str], body: str, field: str
) -> None:
    path = path.replace("HANDLE", web.create("alice")["handle"])
    told = {"Content-Type": "application/json"} | headers
    answer = web(method, path, headers=told, content=body.encode())
    assert answer.json()["field"] == field, answer.text
    assert answer.json()["detail"].startswith(field)
