"""/revoke: RFC 7009."""

from __future__ import annotations

import pytest

from tests.server.web import Web


def test_a_token_is_revoked_for_good(web: Web) -> None:
    made = web.create()
    answer = web("POST", "/revoke", data={"token": made["token"], "token_type_hint": "x"})
    assert (answer.status_code, answer.content) == (200, b"")
    assert web("GET", "/v1/session", token=made["token"]).status_code == 401
    told = web("GET", f"/v1/history/{made['handle']}").json()["events"][-1]
    assert (told["kind"], told["reason"], told["actor"]) == ("session_expired", "revoked", "root")


@pytest.mark.parametrize("token", ["harn_sess_" + "A" * 43, "x", "\x00", "sha256:v1:" + "0" * 64])
def test_what_is_no_token_is_good_enough(web: Web, token: str) -> None:
    assert web("POST", "/revoke", data={"token": token}).status_code == 200
    assert web("GET", "/v1/stats").json()["live"] == 0


def test_revoking_again_appends_nothing(web: Web) -> None:
    made = web.create()
    for _ in range(3):
        assert web("POST", "/revoke", data={"token": made["token"]}).status_code == 200
    assert web("GET", "/v1/stats").json()["events"] == 2


def test_it_takes_a_right_and_a_token(web: Web) -> None:
    reader = web.make_key("reader", "sessions:read")
    assert web("POST", "/revoke", data={"token": "x"}, token=reader).status_code == 403
    assert web("POST", "/revoke", data={"token": "x"}, token="").status_code == 401
    assert web("POST", "/revoke", data={}).status_code in (400, 415)
    assert web("GET", "/revoke").status_code == 405


def test_no_key_is_revoked_here(web: Web) -> None:
    assert web("POST", "/revoke", data={"token": web.key}).status_code == 200
    assert web("GET", "/v1/stats").status_code == 200
