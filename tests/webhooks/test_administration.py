"""What an operator does with endpoints, on every storage of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sessionledger import InvalidSession, SessionStore, open_log
from sessionledger.testing.fixtures import concurrently, until
from sessionledger.webhooks import endpoints
from sessionledger.webhooks.administration import Webhooks, webhooks_of
from sessionledger.webhooks.endpoints import (
    EndpointExists,
    EndpointLimitReached,
    InvalidEndpoint,
    disabled,
    failed,
)
from tests.logs.openers import address
from tests.webhooks.receiving import Receiver
from tests.webhooks.sending import TOPIC, Scene
from tests.webhooks.test_endpoints import NOW, URL


@pytest.fixture(params=["sqlite", "file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, tmp_path / "ledger")


@pytest.fixture
def webhooks(url: str) -> Iterator[Webhooks]:
    with closing(open_log(url)) as log:
        SessionStore(log).create("alice")
        found = webhooks_of(log, TOPIC)
        assert found is not None
        yield found


def cursors(webhooks: Webhooks) -> dict[str, int]:
    log = webhooks.log.compactable()
    assert log is not None
    return log.cursors(TOPIC)


def test_what_was_added_is_read_back_in_order(webhooks: Webhooks, url: str) -> None:
    added = (webhooks.add(URL), webhooks.add(URL, ["session.touched"], ["alice"]))
    with closing(open_log(url)) as log:
        elsewhere = webhooks_of(log, TOPIC)
        assert elsewhere is not None
        assert elsewhere.list() == webhooks.list() == added


def test_an_endpoint_begins_with_what_happens_next_or_after_an_event(webhooks: Webhooks) -> None:
    one, all = webhooks.add(URL), webhooks.add(URL, after=0)
    assert webhooks.log.cursor(TOPIC, one.consumer) == 1
    assert webhooks.log.cursor(TOPIC, all.consumer) == 0
    with pytest.raises(InvalidSession, match="beyond the newest event"):
        webhooks.add(URL, after=2)
    assert webhooks.list() == (one, all)


def test_an_endpoint_is_enabled_where_it_was_left(webhooks: Webhooks) -> None:
    endpoint = webhooks.add(URL)
    webhooks.endpoints.record(endpoint.id, lambda one: disabled(failed(one, "answered 500"), NOW))
    assert [one.state for one in webhooks.list()] == ["disabled"]
    assert webhooks.enable(endpoint.id) == endpoint
    assert webhooks.list() == (endpoint,)
    assert webhooks.log.cursor(TOPIC, endpoint.consumer) == 1


def test_what_is_removed_leaves_no_cursor(webhooks: Webhooks) -> None:
    kept, endpoint = webhooks.add(URL), webhooks.add(URL)
    assert webhooks.remove(endpoint.id) == endpoint
    assert webhooks.list() == (kept,)
    assert cursors(webhooks) == {kept.consumer: 1}


def test_an_endpoint_that_is_not_there_answers_nothing(webhooks: Webhooks) -> None:
    assert webhooks.remove("none") is None
    assert webhooks.enable("none") is None
    assert webhooks.test("none") is None


def test_what_is_refused_leaves_no_cursor(
    webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 1)
    kept = webhooks.add(URL)
    with pytest.raises(EndpointLimitReached, match="remove one"):
        webhooks.add(URL)
    assert cursors(webhooks) == {kept.consumer: 1}


def test_the_same_endpoint_added_again_gets_a_new_secret_and_keeps_its_cursor(
    webhooks: Webhooks,
) -> None:
    first = webhooks.add(URL, id="chosen")
    SessionStore(webhooks.log).create("bob")
    again = webhooks.add(URL, id="chosen")
    assert webhooks.list() == (again,)
    assert again.secret != first.secret
    assert cursors(webhooks) == {first.consumer: 1}
    with pytest.raises(EndpointExists):
        webhooks.add(URL, principals=["alice"], id="chosen")
    assert webhooks.list() == (again,)
    assert cursors(webhooks) == {first.consumer: 1}


def test_a_request_that_another_one_overtook_leaves_its_cursor(
    webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = webhooks.add(URL, id="chosen")
    listings = iter([()])
    monkeypatch.setattr(Webhooks, "list", lambda self: next(listings, self.endpoints.read()))
    with pytest.raises(EndpointExists):
        webhooks.add(URL, principals=["alice"], id="chosen")
    assert cursors(webhooks) == {first.consumer: 1}


@pytest.mark.parametrize(
    "told",
    [{"url": f"https://example.com/{'x' * 2048}"}, {"url": URL, "principals": ["alice"] * 101}],
    ids=lambda told: "url" if len(told) == 1 else "principals",
)
def test_an_endpoint_is_bounded(webhooks: Webhooks, told: dict[str, Any]) -> None:
    with pytest.raises(InvalidEndpoint, match="at most"):
        webhooks.add(**told)
    assert webhooks.list() == ()


def test_changes_at_the_same_time_are_all_kept(webhooks: Webhooks) -> None:
    endpoint = webhooks.add(URL)

    def fail() -> None:
        for _ in range(5):
            webhooks.endpoints.record(endpoint.id, lambda found: failed(found, "?"))

    concurrently(*[fail] * 4)
    assert webhooks.list()[0].failures == 20


def test_a_test_message_is_signed_and_its_answer_told(
    webhooks: Webhooks, receiver: Receiver
) -> None:
    endpoint = webhooks.add(receiver.url, allow="localhost")
    webhooks.endpoints.record(endpoint.id, lambda one: disabled(one, NOW))
    taken = webhooks.test(endpoint.id)
    assert taken is not None
    assert (taken.status, taken.problem) == (204, None)
    assert taken.seconds >= 0
    (got,) = receiver.got
    told = got.verified(endpoint.secret)
    assert (told["type"], told["data"]) == ("webhook.test", {"endpoint": endpoint.id})
    receiver.answers = [500]
    refused = webhooks.test(endpoint.id)
    assert refused is not None
    assert (refused.status, refused.problem) == (500, "answered 500")
    assert receiver.got[0].id != receiver.got[1].id
    assert cursors(webhooks) == {endpoint.consumer: 1}


def test_a_test_message_goes_to_no_private_address(webhooks: Webhooks, receiver: Receiver) -> None:
    endpoint = webhooks.add(f"https://localhost:{receiver.port}/")
    tried = webhooks.test(endpoint.id)
    assert tried is not None
    assert (tried.status, receiver.got) == (None, [])
    assert tried.problem is not None
    assert "public address" in tried.problem


def test_an_endpoint_that_is_removed_amid_a_delivery_leaves_no_cursor(
    scene: Scene, receiver: Receiver
) -> None:
    webhooks = Webhooks(scene.store._log, TOPIC, scene.file)
    receiver.may_answer.clear()
    endpoint = webhooks.add(receiver.url, allow="localhost")
    other = webhooks.add(receiver.url, types=["session.touched"], allow="localhost")
    with scene.delivering():
        scene.store.create("alice")
        until(lambda: cursors(webhooks).get(other.consumer) == 1)
        webhooks.remove(endpoint.id)
        # What the delivery under way may do before it is told.
        webhooks.log.ack(TOPIC, endpoint.consumer, 1)
        until(lambda: endpoint.consumer not in cursors(webhooks))
        receiver.may_answer.set()


def test_a_new_secret_is_used_at_once(scene: Scene, receiver: Receiver) -> None:
    webhooks = Webhooks(scene.store._log, TOPIC, scene.file)
    webhooks.add(receiver.url, allow="localhost", id="chosen")
    receiver.answers = [503]
    with scene.delivering(retry_delays=(600.0,)):
        scene.store.create("alice")
        receiver.wait_for(1)
        again = webhooks.add(receiver.url, allow="localhost", id="chosen")
        got = receiver.wait_for(2)
    assert got[1].verified(again.secret)["type"] == "session.created"
