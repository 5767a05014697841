"""/introspect: RFC 7662."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Any

import httpx
import pytest
from msgspec import structs

from sessionledger.server import create_app
from tests.server.conftest import SETTINGS
from tests.server.web import Web


def ask(web: Web, asked: str, **told: Any) -> httpx.Response:
    return web("POST", "/introspect", data={"token": asked} | told.pop("data", {}), **told)


def basic(name: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + b64encode(f"{name}:{secret}".encode()).decode()}


def test_a_live_token_is_told_of(web: Web) -> None:
    said = {"scope": ["a", "b"], "client_id": "app", "username": "Alice", "other": 1}
    made = web.create(attributes=said)
    answer = ask(web, made["token"])
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "active": True,
        "sub": "alice",
        "exp": int(datetime.fromisoformat(made["expires_at"]).timestamp()),
        "iat": int(datetime.fromisoformat(made["created_at"]).timestamp()),
        "jti": made["handle"],
        "scope": "a b",
        "client_id": "app",
        "username": "Alice",
    }


def test_what_is_not_known_is_left_out(web: Web) -> None:
    made = web.create(attributes={"scope": 5, "username": ["x"]})
    assert set(ask(web, made["token"]).json()) == {"active", "sub", "exp", "iat", "jti"}


def test_an_audience_is_told_where_there_is_one() -> None:
    with Web(create_app(structs.replace(SETTINGS, audience="https://api.test"))) as web:
        assert ask(web, web.create()["token"]).json()["aud"] == "https://api.test"


def test_what_is_not_live_is_inactive_and_nothing_else(web: Web) -> None:
    over = web.create()
    web("DELETE", f"/v1/sessions/{over['handle']}")
    for token in (over["token"], "harn_sess_" + "A" * 43, "x", web.key, over["handle"], "\x00é"):
        answer = ask(web, token)
        assert (answer.status_code, answer.json()) == (200, {"active": False})


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", ""])
def test_a_hint_is_ignored(web: Web, hint: str) -> None:
    assert ask(web, web.create()["token"], data={"token_type_hint": hint}).json()["active"]


def test_introspecting_is_seeing(web: Web) -> None:
    """A replaced token that is presented to a resource server was reused: its family ends."""
    old = web.create()
    new = web.run(lambda: web.ledger.sessions.rotate(handle=old["handle"]))
    assert new is not None
    assert ask(web, old["token"]).json()["active"], "within its grace"


def test_a_key_is_also_a_client_s_password(web: Web) -> None:
    key = web.make_key("api", "introspect")
    token = web.create()["token"]
    assert ask(web, token, token="", headers=basic("api", key)).json()["active"]
    for name, secret in (("other", key), ("api", "harn_sess_" + "A" * 43), ("api", "")):
        answer = ask(web, token, token="", headers=basic(name, secret))
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"] == 'Basic realm="sessionledger"'


def test_a_client_may_send_its_secret_in_the_form(web: Web) -> None:
    key = web.make_key("api", "introspect")
    token = web.create()["token"]
    form = {"client_id": "api", "client_secret": key}
    assert ask(web, token, token="", data=form).json()["active"]
    for name, secret in (("other", key), ("api", "harn_sess_" + "A" * 43), ("api", web.key)):
        wrong = {"client_id": name, "client_secret": secret}
        answer = ask(web, token, token="", data=wrong)
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
        assert answer.headers["www-authenticate"] == 'Basic realm="sessionledger"'


@pytest.mark.parametrize("how", ["bearer", "basic"])
def test_a_client_authenticates_in_one_way_only(web: Web, how: str) -> None:
    key = web.make_key("api", "introspect")
    header = basic("api", key) if how == "basic" else {"Authorization": f"Bearer {key}"}
    form = {"client_id": "api", "client_secret": key}
    answer = ask(web, "x", token="", headers=header, data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "client_secret" in answer.json()["error_description"]
    named = ask(web, "x", token="", headers=header, data={"client_id": "api"})
    assert named.json() == {"active": False}


def test_a_secret_in_the_form_needs_its_client(web: Web) -> None:
    form = {"client_secret": web.make_key("api", "introspect")}
    answer = ask(web, "x", token="", data=form)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "client_id" in answer.json()["error_description"]
    assert ask(web, "x", token="", data={"client_id": "api"}).status_code == 401


def test_who_does_not_authenticate_is_challenged(web: Web) -> None:
    answer = ask(web, web.create()["token"], token="")
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="sessionledger", Basic')


def test_a_key_needs_the_scope(web: Web) -> None:
    answer = ask(web, "x", token=web.make_key("other", "sessions:read"))
    assert (answer.status_code, answer.json()["error"]) == (403, "insufficient_scope")


def test_a_session_is_no_client(web: Web) -> None:
    token = web.create()["token"]
    answer = ask(web, token, token=token)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


@pytest.mark.parametrize("value", ["Basic", "Basic !", "Basic eA==", "Bearer"])
def test_malformed_credentials_are_a_bad_request(web: Web, value: str) -> None:
    answer = ask(web, "x", token="", headers={"Authorization": value})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind", "status", "named"),
    [
        (b"", FORM, 400, "token"),
        (b"token=", FORM, 400, "token"),
        (b"other=x", FORM, 400, "token"),
        (b"token=a&token=b", FORM, 400, "token"),
        (b"token=%ff", FORM, 400, "body"),
        (b"token=\xff", FORM, 400, "body"),
        (b"a=%C3\xa9&token=x", FORM, 400, "body"),
        (b"token=a&tok%65n=b", FORM, 400, "token"),
        (b"token=" + b"x" * 200_000, FORM, 413, "body"),
        (b'{"token":"x"}', "application/json", 415, "Content-Type"),
        (b"token=x", "", 415, "Content-Type"),
    ],
)
def test_a_form_that_can_t_be_taken(
    web: Web, body: bytes, kind: str, status: int, named: str
) -> None:
    answer = web("POST", "/introspect", content=body, headers={"Content-Type": kind})
    assert (answer.status_code, answer.json()["error"]) == (status, "invalid_request")
    assert named in answer.json()["error_description"]


def test_it_takes_post_only(web: Web) -> None:
    answer = web("GET", "/introspect?token=x")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_child_is_told_with_those_it_works_for(web: Web) -> None:
    alice = web.create()
    agent = web.create(principal="agent", parent=alice["handle"])
    tool = web.create(principal="tool", parent=agent["token"])
    answer = ask(web, tool["token"]).json()
    assert answer["sub"] == "tool"
    assert answer["delegated_by"] == {"sub": "agent", "delegated_by": {"sub": "alice"}}
    web("DELETE", f"/v1/sessions/{alice['handle']}")
    assert ask(web, tool["token"]).json() == {"active": False}
