"""Admin keys: what each may do, and that nothing of the sessions' reaches them."""

from __future__ import annotations

from typing import Any

import pytest

from sessionledger import InvalidSession
from sessionledger.server.app import ROUTES
from sessionledger.server.auth.permissions import BEARER, PUBLIC
from sessionledger.server.service.keys import (
    SCOPES,
    Key,
    NotAllowed,
    authenticate_key,
    key_of,
    new_key,
)
from tests.server.web import Web, problem

HANDLE = "sha256:v1:" + "0" * 64
CALLS = [
    ("sessions:create", "POST", "/v1/sessions"),
    ("sessions:read", "GET", "/v1/sessions"),
    ("sessions:read", "GET", f"/v1/sessions/{HANDLE}"),
    ("sessions:read", "GET", f"/v1/history/{HANDLE}"),
    ("sessions:read", "GET", "/v1/stats"),
    ("sessions:write", "PATCH", f"/v1/sessions/{HANDLE}"),
    ("sessions:rotate", "POST", f"/v1/sessions/{HANDLE}/rotate"),
    ("sessions:rotate sessions:revoke", "POST", f"/v1/sessions/{HANDLE}/change-credentials"),
    ("sessions:create sessions:read", "POST", "/v1/sessions/find-or-create"),
    ("sessions:write", "POST", f"/v1/sessions/{HANDLE}/reauthenticate"),
    ("sessions:revoke", "DELETE", f"/v1/sessions/{HANDLE}"),
    ("sessions:revoke", "DELETE", "/v1/sessions?principal=alice"),
    ("sessions:revoke", "DELETE", "/v1/external-sessions?external_id=x"),
    ("sessions:revoke_everybody", "DELETE", "/v1/all-sessions"),
    ("sessions:revoke_everybody", "POST", "/v1/revocations"),
    ("sessions:erase", "POST", "/v1/erasures"),
]


def test_every_route_says_what_it_takes() -> None:
    for route in ROUTES:
        assert route.opt["permission"] in (*SCOPES, BEARER, PUBLIC), route


@pytest.mark.parametrize(("scopes", "method", "path"), CALLS)
def test_a_key_does_what_its_scopes_say(web: Web, scopes: str, method: str, path: str) -> None:
    for scope in scopes.split():
        others = [other for other in SCOPES if other != scope]
        answer = web(method, path, token=web.make_key(f"not-{scope[9:]}", *others))
        assert problem(answer) == (403, "insufficient_scope", None)
        assert answer.headers["www-authenticate"].endswith(
            f'error="insufficient_scope", scope="{scope}"'
        )
    assert web(method, path, token=web.make_key("just", *scopes.split())).status_code != 403


@pytest.mark.parametrize(("scopes", "method", "path"), CALLS)
def test_no_key_that_is_not_good_is_told_apart(
    web: Web, scopes: str, method: str, path: str
) -> None:
    revoked = web.make_key("gone", *scopes.split())
    web.run(lambda: web.ledger.keys.expire(revoked))
    tokens = [revoked, "harn_sess_" + "A" * 43, "short", web.create()["token"]]
    answers = [web(method, path, token=token) for token in tokens]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert problem(web(method, path, token=""))[1] == "unauthorized"


def test_no_door_of_the_sessions_leads_to_a_key(web: Web) -> None:
    handle = web.run(lambda: web.ledger.keys.authenticate(web.key))
    assert handle is not None
    path = f"/v1/sessions/{handle.handle}"
    assert web("GET", "/v1/session", token=web.key).status_code == 401
    assert web("DELETE", "/v1/session", token=web.key).status_code == 401
    assert web("GET", path).status_code == 404
    assert web("GET", f"/v1/history/{handle.handle}").status_code == 404
    assert web("DELETE", path).status_code == 404
    assert web("DELETE", "/v1/sessions?principal=root").json() == {"ended": 0}
    assert web("GET", "/v1/sessions?state=all").json()["sessions"] == []
    assert web("GET", "/v1/stats").json()["sessions"] == 0


def test_a_key_is_shut_out_at_the_next_request(web: Web) -> None:
    key = web.make_key("reader", "sessions:read")
    assert web("GET", "/v1/stats", token=key).status_code == 200
    web.run(lambda: web.ledger.keys.expire(key))
    assert web("GET", "/v1/stats", token=key).status_code == 401


def test_a_key_makes_only_keys_that_do_no_more() -> None:
    maker = Key("maker", HANDLE, frozenset({"introspect", "sessions:read"}))
    made = new_key("made", ["introspect"], maker)
    assert made == {"scope": "introspect"}
    with pytest.raises(NotAllowed, match="without sessions:create"):
        new_key("made", ["introspect", "sessions:create"], maker)


@pytest.mark.parametrize(
    ("name", "scopes"),
    [("", ["introspect"]), ("a b", ["introspect"]), ("a", []), ("a", ["everything"])],
)
def test_a_key_that_makes_no_sense_is_refused(name: str, scopes: list[str]) -> None:
    with pytest.raises(NotAllowed):
        new_key(name, scopes, None)


def test_a_key_ends_with_the_one_that_it_was_made_with(web: Web) -> None:
    keys = web.ledger.keys

    async def told() -> list[object]:
        top = await keys.create("top", attributes=new_key("top", SCOPES, None))
        attributes = new_key("below", ["introspect"], key_of(top))
        below = await keys.create("below", attributes=attributes, parent=top.handle)
        before = await authenticate_key(keys, below.token)
        head = (await keys.head()).id
        await keys.revoke(handle=top.handle)
        units = [event.headers["sessionledger.unit"] async for event in keys.events(after=head)]
        return [before is not None, units, await authenticate_key(keys, below.token)]

    assert web.run(told) == [True, ["1/2", "2/2"], None]


def test_the_log_itself_refuses_a_key_that_may_do_more(web: Web) -> None:
    async def made() -> None:
        top = await web.ledger.keys.create("top", attributes={"scope": "introspect"})
        await web.ledger.keys.create("more", attributes={"scope": "events:read"}, parent=top.handle)

    with pytest.raises(InvalidSession) as refused:
        web.run(made)
    assert refused.value.field == "attributes"


@pytest.mark.parametrize(
    ("attributes", "status"),
    [
        ({"scopes": [1]}, 401),
        ({"scope": ["sessions:read"]}, 401),
        ({"scope": ""}, 403),
        ({"scopes": ["sessions:read"], "ancestors": []}, 200),
        ({"scopes": [1], "ancestors": []}, 401),
        ({"scopes": ["sessions:read"], "ancestors": [HANDLE]}, 401),
    ],
)
def test_scopes_are_read_as_they_are_written_and_as_they_were(
    web: Web, attributes: dict[str, Any], status: int
) -> None:
    async def made() -> str:
        return (await web.ledger.keys.create("odd", attributes=attributes)).token

    assert web("GET", "/v1/stats", token=web.run(made)).status_code == status
