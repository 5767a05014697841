"""/v1/session: what a bearer does with its own session."""

from __future__ import annotations

import pytest

from tests.server.web import Web, problem

CALLS = [
    ("GET", "/v1/session"),
    ("POST", "/v1/session/slide"),
    ("POST", "/v1/session/rotate"),
    ("DELETE", "/v1/session"),
    ("POST", "/v1/session/log-out-everywhere"),
]
CHALLENGE = 'Bearer realm="sessionledger"'


def test_a_bearer_reads_its_session(web: Web) -> None:
    made = web.create(attributes={"role": "operator"})
    answer = web("GET", "/v1/session", token=made.pop("token"))
    assert answer.json() == made
    assert answer.headers["cache-control"] == "no-store"


def test_a_bearer_slides_its_session(web: Web) -> None:
    made = web.create(idle_timeout=600, ttl=3600)
    slid = web("POST", "/v1/session/slide", token=made["token"]).json()
    assert slid["version"] > made["version"]
    assert slid["expires_at"] > made["expires_at"]
    assert slid["deadline"] == made["deadline"]


def test_a_bearer_rotates_its_token(web: Web) -> None:
    made = web.create(attributes={"a": 1})
    answer = web("POST", "/v1/session/rotate", token=made["token"])
    fresh = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert fresh["token"] != made["token"]
    assert (fresh["family"], fresh["attributes"]) == (made["handle"], {"a": 1})
    assert web("GET", "/v1/session", token=fresh["token"]).json()["handle"] == fresh["handle"]


def test_a_bearer_logs_out_for_good(web: Web) -> None:
    token = web.create()["token"]
    answer = web("DELETE", "/v1/session", token=token)
    assert (answer.status_code, answer.content) == (204, b"")
    for method, path in CALLS:
        assert problem(web(method, path, token=token)) == (401, "invalid_token", None)


def test_a_bearer_logs_out_everywhere(web: Web) -> None:
    phone, laptop, bob = web.create(), web.create(), web.create("bob")
    fresh = web("POST", "/v1/session/rotate", token=phone["token"]).json()
    answer = web("POST", "/v1/session/log-out-everywhere", token=fresh["token"])
    assert (answer.status_code, answer.json()) == (200, {"ended": 2})
    for made in (phone, laptop, fresh):
        answer = web("GET", "/v1/session", token=made["token"])
        assert problem(answer) == (401, "invalid_token", None)
    assert web("GET", "/v1/session", token=bob["token"]).status_code == 200


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_without_credentials_there_is_a_challenge_without_a_code(
    web: Web, method: str, path: str
) -> None:
    answer = web(method, path, token="")
    assert problem(answer)[0] == 401
    assert answer.headers["www-authenticate"] == CHALLENGE


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_no_token_that_is_not_good_is_told_apart(web: Web, method: str, path: str) -> None:
    over = web.create()
    web("DELETE", f"/v1/sessions/{over['handle']}")
    tokens = [over["token"], "harn_sess_" + "A" * 43, "short", web.key]
    answers = [web(method, path, token=token) for token in tokens]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    headers = [dict(answer.headers) for answer in answers]
    assert headers == [headers[0]] * len(headers)
    assert headers[0]["www-authenticate"] == f'{CHALLENGE}, error="invalid_token"'


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Bearer a b", "Bearer é", 'Bearer "x"'])
def test_malformed_credentials_are_a_bad_request(web: Web, value: str) -> None:
    answer = web("GET", "/v1/session", token="", headers={"Authorization": value.encode()})
    assert problem(answer) == (400, "invalid_request", "Authorization")
    assert answer.headers["www-authenticate"] == f'{CHALLENGE}, error="invalid_request"'


def test_two_credentials_are_a_bad_request(web: Web) -> None:
    token = web.create()["token"]
    both = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    answer = web.run(lambda: web.client.get("/v1/session", headers=both))
    assert problem(answer)[0] == 400


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(web: Web, scheme: str) -> None:
    header = {"Authorization": f"{scheme} {web.create()['token']}"}
    assert web("GET", "/v1/session", token="", headers=header).status_code == 200


def test_a_token_is_taken_from_nowhere_else(web: Web) -> None:
    token = web.create()["token"]
    cookie = {"Cookie": f"__Host-session={token}"}
    assert web("GET", "/v1/session", token="", headers=cookie).status_code == 401
    assert web("GET", f"/v1/session?access_token={token}", token="").status_code == 401


def test_a_bearer_may_write_so_often(web: Web) -> None:
    token = web.create()["token"]
    statuses = [web("POST", "/v1/session/slide", token=token).status_code for _ in range(125)]
    assert 429 in statuses
    assert web("DELETE", "/v1/session", token=token).status_code == 204


def test_no_new_token_renews_what_a_bearer_may_write(web: Web) -> None:
    token = web.create()["token"]
    answers = []
    for _ in range(31):
        answers.append(web("POST", "/v1/session/rotate", token=token))
        token = answers[-1].json().get("token", token)
    assert [answer.status_code for answer in answers] == [200] * 30 + [429]
    assert problem(answers[-1]) == (429, "rotation_limit_reached", None)
    assert 0 < int(answers[-1].headers["retry-after"]) <= 60
    slides = [web("POST", "/v1/session/slide", token=token) for _ in range(91)]
    assert {answer.status_code for answer in slides[:80]} == {200}
    assert problem(slides[-1]) == (429, "too_many_requests", None)
    assert web("DELETE", "/v1/session", token=token).status_code == 204, "an end is never refused"
