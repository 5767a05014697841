"""Webhook endpoints over HTTP: made, listed, tried, enabled and ended."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest

from sessionledger.server import Settings, create_app
from sessionledger.server.http.webhook_schemas import Type
from sessionledger.webhooks import endpoints
from sessionledger.webhooks.administration import Webhooks
from sessionledger.webhooks.endpoints import disabled, failed
from sessionledger.webhooks.messages import TYPES
from tests.server.web import JSON, Web, problem
from tests.webhooks.conftest import receiver  # noqa: F401  a fixture
from tests.webhooks.receiving import Receiver
from tests.webhooks.test_endpoints import NOW, URL

TOPIC = "orchestrator.sessions"
HOOKS = "/v1/webhooks"


@pytest.fixture
def hooked(tmp_path: Path) -> Iterator[Web]:
    """A service whose operator allows one host that is private."""
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    settings = Settings(ledger=url, sweep_interval=None, webhook_hosts=("localhost",))
    with Web(create_app(settings)) as web:
        yield web


def webhooks(web: Web) -> Webhooks:
    assert web.ledger.webhooks is not None
    return web.ledger.webhooks


def made(web: Web, **told: Any) -> JSON:
    answer = web("POST", HOOKS, json={"url": URL} | told)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_an_endpoint_is_made_listed_and_ended(hooked: Web) -> None:
    one = made(hooked, url="https://example.com/a-path", types=["session.expired"])
    two = made(hooked, principals=["alice"])
    listed = hooked("GET", HOOKS)
    assert "whsec_" not in listed.text
    assert "a-path" not in listed.text + str(one)
    assert one.pop("secret") != two.pop("secret")
    assert listed.json() == {"endpoints": [one, two]}
    assert (one["host"], one["types"], one["state"]) == ("example.com", ["session.expired"], "well")
    assert (two["types"], two["principals"]) == (list(endpoints.DEFAULT_TYPES), ["alice"])
    ended = hooked("DELETE", f"{HOOKS}/{one['id']}")
    assert (ended.status_code, ended.json()) == (200, one)
    assert hooked("GET", HOOKS).json() == {"endpoints": [two]}
    assert problem(hooked("DELETE", f"{HOOKS}/{one['id']}")) == (404, "not_found", None)


def test_an_endpoint_begins_with_what_happens_next_or_after_an_event(hooked: Web) -> None:
    hooked.create()
    log = webhooks(hooked).log
    for told, cursor in (({}, 1), ({"after": 0}, 0), ({"after": 0.0}, 0)):
        assert log.cursor(TOPIC, f"webhook.{made(hooked, **told)['id']}") == cursor
    answer = hooked("POST", HOOKS, json={"url": URL, "after": 2})
    assert problem(answer) == (422, "invalid_session", "after")
    assert len(webhooks(hooked).list()) == 3


def test_a_request_that_is_repeated_makes_one_endpoint_and_a_new_secret(hooked: Web) -> None:
    headers = {"Idempotency-Key": "once"}
    first, again = (
        hooked("POST", HOOKS, json={"url": URL}, headers=headers).json() for _ in range(2)
    )
    assert first.pop("secret") != again["secret"]
    assert [one.secret for one in webhooks(hooked).list()] == [again.pop("secret")]
    assert first == again
    other = hooked("POST", HOOKS, json={"url": f"{URL}/2"}, headers=headers)
    assert problem(other) == (409, "idempotency_key_reused", "Idempotency-Key")
    another = hooked.make_key("another", "webhooks:write")
    theirs = hooked("POST", HOOKS, json={"url": URL}, headers=headers, token=another)
    assert theirs.json()["id"] != first["id"]
    assert len(webhooks(hooked).list()) == 2


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "http://127.0.0.1/", "https://user:pw@example.com/", "nonsense"),
        *("http://localhost.example/", "https://[::1", "https://ex ample.com/"),
    ],
)
def test_an_address_that_can_not_be_used_is_refused(hooked: Web, url: str) -> None:
    answer = hooked("POST", HOOKS, json={"url": url})
    assert problem(answer) == (422, "invalid_endpoint", "url")
    assert "pw" not in answer.text
    assert webhooks(hooked).list() == ()


@pytest.mark.parametrize(
    ("told", "field"),
    [
        ({"allow": "localhost"}, "allow"),
        ({"types": ["session_created"]}, "types"),
        ({"types": []}, "types"),
        ({"principals": ["a"] * 101}, "principals"),
        ({"after": -1}, "after"),
        ({"after": 0.5}, "after"),
        ({"url": f"https://example.com/{'x' * 2048}"}, "url"),
        ({"url": None}, "url"),
    ],
    ids=str,
)
def test_a_body_that_can_not_be_taken_names_the_member(hooked: Web, told: JSON, field: str) -> None:
    answer = hooked("POST", HOOKS, json={"url": URL} | told)
    assert problem(answer) == (400, "invalid_request", field)
    assert webhooks(hooked).list() == ()


def test_only_a_host_that_the_operator_allows_may_be_private(
    hooked: Web,
    receiver: Receiver,  # noqa: F811
) -> None:
    allowed = made(hooked, url=receiver.url)
    tried = hooked("POST", f"{HOOKS}/{allowed['id']}/test")
    assert (tried.status_code, tried.json()["status"], tried.json()["problem"]) == (200, 204, None)
    (got,) = receiver.got
    assert got.verified(allowed["secret"])["type"] == "webhook.test"
    refused = made(hooked, url=f"https://127.0.0.1:{receiver.port}/")
    tried = hooked("POST", f"{HOOKS}/{refused['id']}/test")
    assert (tried.status_code, tried.json()["status"]) == (200, None)
    assert "public address" in tried.json()["problem"]
    assert len(receiver.got) == 1


def test_a_host_that_can_not_exist_is_told_by_its_test(hooked: Web) -> None:
    endpoint = made(hooked, url="https://a..b/")
    tried = hooked("POST", f"{HOOKS}/{endpoint['id']}/test")
    assert (tried.status_code, tried.json()["problem"]) == (200, "can't be reached: OSError")


def test_what_a_receiver_writes_is_not_repeated(
    hooked: Web,
    receiver: Receiver,  # noqa: F811
) -> None:
    endpoint = made(hooked, url=receiver.url)
    receiver.answers = ["http://localhost/secret-of-the-receiver"]
    tried = hooked("POST", f"{HOOKS}/{endpoint['id']}/test")
    assert (tried.json()["status"], tried.json()["problem"]) == (302, "answered 302")
    assert "secret-of-the-receiver" not in tried.text


def test_an_endpoint_is_enabled_again(hooked: Web) -> None:
    endpoint = made(hooked)
    webhooks(hooked).endpoints.record(
        endpoint["id"], lambda one: disabled(failed(one, "answered 500"), NOW)
    )
    (listed,) = hooked("GET", HOOKS).json()["endpoints"]
    assert (listed["state"], listed["failures"], listed["problem"]) == (
        "disabled",
        1,
        "answered 500",
    )
    assert listed["disabled_at"] == "2030-01-01T00:00:00.000000Z"
    for _ in range(2):
        enabled = hooked("POST", f"{HOOKS}/{endpoint['id']}/enable")
        assert (enabled.status_code, enabled.json()["state"]) == (200, "well")


@pytest.mark.parametrize("path", ["/000000000000/test", "/000000000000/enable"])
def test_an_endpoint_that_is_not_there_is_not_found(hooked: Web, path: str) -> None:
    assert problem(hooked("POST", HOOKS + path)) == (404, "not_found", None)


def test_there_are_only_so_many(hooked: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 1)
    made(hooked)
    answer = hooked("POST", HOOKS, json={"url": URL})
    assert problem(answer) == (409, "endpoint_limit_reached", None)


def test_reading_and_writing_take_a_scope_each(hooked: Web) -> None:
    endpoint = made(hooked)
    reader, writer = (hooked.make_key(name, f"webhooks:{name}") for name in ("read", "write"))
    path = f"{HOOKS}/{endpoint['id']}"
    calls = [("GET", HOOKS), ("POST", HOOKS), ("DELETE", path)]
    calls += [("POST", f"{path}/test"), ("POST", f"{path}/enable")]
    for number, (method, at) in enumerate(calls):
        token = reader if number else writer
        answer = hooked(method, at, token=token, json={"url": URL} if at == HOOKS else None)
        assert problem(answer)[:2] == (403, "insufficient_scope")
    assert hooked("GET", HOOKS, token=reader).status_code == 200
    assert hooked("DELETE", path, token=writer).status_code == 200


def test_a_file_that_can_not_be_trusted_is_no_answer_and_is_not_named(hooked: Web) -> None:
    made(hooked)
    path = Path(str(webhooks(hooked).endpoints))
    path.chmod(0o644)
    answer = hooked("GET", HOOKS)
    assert problem(answer) == (503, "unsafe_file", None)
    assert path.name not in answer.text


def test_a_ledger_without_a_place_has_no_webhooks(web: Web) -> None:
    assert problem(web("GET", HOOKS)) == (409, "no_webhooks", None)
    assert problem(web("POST", HOOKS, json={"url": URL})) == (409, "no_webhooks", None)


def test_the_types_are_those_of_messages() -> None:
    assert get_args(Type) == TYPES


@pytest.mark.parametrize(
    "name", ["localhost:8080", "http://localhost", "LocalHost", "", "a/b", "[::1]"]
)
def test_an_allowed_host_is_a_name(name: str) -> None:
    with pytest.raises(ValueError, match="webhook_hosts"):
        Settings(webhook_hosts=(name,))


def test_the_access_log_names_the_key_and_not_the_endpoint(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    with Web(create_app(Settings(ledger=url, sweep_interval=None)), "operator") as web:
        endpoint = made(web)
        web("DELETE", f"{HOOKS}/{endpoint['id']}")
    lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
    told = [(line["method"], line["route"], line["status"], line["key"]) for line in lines]
    assert told == [
        ("POST", HOOKS, 201, "operator"),
        ("DELETE", f"{HOOKS}/{{id}}", 200, "operator"),
    ]
