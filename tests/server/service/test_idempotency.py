"""Idempotency-Key: one session, however often the request arrives."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from sessionledger import IssuedSession
from sessionledger.server.http.schemas import NewSession
from sessionledger.server.service import idempotency
from sessionledger.server.service.keys import authenticate_key
from tests.server.web import Web, problem

ALICE: dict[str, Any] = {"principal": "alice", "attributes": {"a": 1, "b": 2}}


def post(web: Web, key: str, body: dict[str, Any] = ALICE, **told: Any) -> httpx.Response:
    return web("POST", "/v1/sessions", json=body, headers={"Idempotency-Key": key}, **told)


def live(web: Web, token: str) -> bool:
    return web("GET", "/v1/session", token=token).status_code == 200


def test_a_replay_answers_the_same_session_with_another_token(web: Web) -> None:
    first = post(web, "k").json()
    again = post(web, "k", {"attributes": {"b": 2, "a": 1}, "principal": "alice"})
    assert again.status_code == 201
    assert again.json()["family"] == first["handle"]
    assert live(web, again.json()["token"])
    assert len(web("GET", "/v1/sessions?principal=alice").json()["sessions"]) == 1
    third = post(web, "k").json()
    assert third["family"] == first["handle"]
    assert live(web, third["token"])
    assert not live(web, again.json()["token"])


def test_the_first_token_is_no_good_after_a_replay(web: Web) -> None:
    first = post(web, "k").json()
    post(web, "k")
    assert web("GET", "/v1/session", token=first["token"]).status_code == 401


def test_replays_at_the_same_time_all_answer_and_one_token_stays_good(web: Web) -> None:
    first = post(web, "k").json()
    headers = {"Idempotency-Key": "k", "Authorization": f"Bearer {web.key}"}

    async def replays_together() -> list[httpx.Response]:
        again = (web.client.post("/v1/sessions", json=ALICE, headers=headers) for _ in range(5))
        return await asyncio.gather(*again)

    answers = web.run(replays_together)
    assert [answer.status_code for answer in answers] == [201] * 5
    assert {answer.json()["family"] for answer in answers} == {first["handle"]}
    (session,) = web("GET", "/v1/sessions?principal=alice").json()["sessions"]
    (good,) = (one for one in answers if one.json()["handle"] == session["handle"])
    assert live(web, good.json()["token"])


def test_another_body_is_a_conflict(web: Web) -> None:
    post(web, "k")
    answer = post(web, "k", {"principal": "bob"})
    assert problem(answer) == (409, "idempotency_key_reused", "Idempotency-Key")


def test_each_caller_has_keys_of_its_own(web: Web) -> None:
    first = post(web, "k").json()
    other = post(web, "k", token=web.make_key("other", "sessions:create")).json()
    assert other["family"] is None
    assert other["handle"] != first["handle"]


def test_a_session_that_is_over_is_not_begun_again(web: Web) -> None:
    first = post(web, "k").json()
    web("DELETE", f"/v1/sessions/{first['handle']}")
    assert problem(post(web, "k")) == (409, "session_over", "Idempotency-Key")


def test_a_refused_request_leaves_its_key_to_the_next(web: Web) -> None:
    spaced = {"principal": " "}
    assert post(web, "k", spaced).status_code == 422
    assert post(web, "k", spaced).status_code == 422
    assert post(web, "k", spaced).status_code == 422


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_a_key_that_is_none_is_named(web: Web, key: str) -> None:
    assert problem(post(web, key)) == (400, "invalid_request", "Idempotency-Key")


def test_of_many_at_once_one_begins_it(web: Web) -> None:
    headers = {"Authorization": f"Bearer {web.key}", "Idempotency-Key": "k"}

    async def all_at_once() -> list[httpx.Response]:
        calls = (web.client.post("/v1/sessions", json=ALICE, headers=headers) for _ in range(8))
        return await asyncio.gather(*calls)

    answers = web.run(all_at_once)
    made = [answer for answer in answers if answer.status_code == 201]
    assert made
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len(web("GET", "/v1/sessions?principal=alice").json()["sessions"]) == 1


def test_who_was_killed_before_the_session_was_there_is_followed(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is there, and its session is not, as after a kill between the two."""

    class Killed(Exception):
        pass

    async def killed(_: str | None) -> IssuedSession:
        raise Killed

    async def begun() -> None:
        caller = await authenticate_key(web.ledger.keys, web.key)
        assert caller is not None
        asked = NewSession(**ALICE)
        with pytest.raises(Killed):
            await idempotency.create_once(web.ledger, caller, "k", asked, killed)

    web.run(begun)
    assert problem(post(web, "k"))[1] == "idempotency_under_way"
    monkeypatch.setattr(idempotency, "TAKE_OVER_SECONDS", 0.0)
    assert live(web, post(web, "k").json()["token"])
    assert len(web("GET", "/v1/sessions").json()["sessions"]) == 1
