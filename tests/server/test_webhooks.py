"""The service delivers webhooks by itself, once, however many workers it has."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from sessionledger.webhooks.endpoint_file import EndpointFile
from sessionledger.webhooks.endpoints import new_endpoint
from tests import postgres_server
from tests.server.served import Served, make_key
from tests.webhooks.receiving import Receiver


def test_what_happens_is_told_once_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    admin = {"Authorization": f"Bearer {make_key(tmp_path, 'root')}"}
    file = EndpointFile(tmp_path / "sessions.db-webhooks")
    with Receiver().running() as receiver:
        endpoint = new_endpoint(receiver.url, allow="localhost")
        file.add(endpoint)
        for number in range(2):
            with Served(tmp_path, "--no-access-log", "--workers", "2") as served:
                for _ in range(3):
                    created = httpx.post(
                        f"{served.url}/v1/sessions", json={"principal": "alice"}, headers=admin
                    )
                    assert created.status_code == 201
                receiver.wait_for(3 * (number + 1))
        got = receiver.got
    assert receiver.events == [1, 2, 3, 4, 5, 6]
    told = got[0].verified(endpoint.secret)
    assert (told["type"], told["data"]["principal"]) == ("session.created", "alice")


def test_its_file_may_be_somewhere_else(tmp_path: Path) -> None:
    admin = {"Authorization": f"Bearer {make_key(tmp_path, 'root')}"}
    with Receiver().running() as receiver:
        EndpointFile(tmp_path / "elsewhere").add(new_endpoint(receiver.url, allow="localhost"))
        options = ("--no-access-log", "--webhooks", str(tmp_path / "elsewhere"))
        with Served(tmp_path, *options) as served:
            httpx.post(f"{served.url}/v1/sessions", json={"principal": "bob"}, headers=admin)
            receiver.wait_for(1)
    assert receiver.got[0].message["data"]["principal"] == "bob"


@pytest.mark.middle
def test_an_endpoint_made_over_http_is_told_of_every_machine_that_shares_the_ledger(
    tmp_path: Path,
) -> None:
    url = postgres_server.address(tmp_path)
    key = make_key(tmp_path, "root", ledger=url)
    options = ("--ledger", url, "--no-access-log", "--webhook-hosts", "localhost")
    with Receiver().running() as receiver, Served(tmp_path, *options) as one:
        made = one.call("POST", "/v1/webhooks", key, json={"url": receiver.url})
        assert made.status_code == 201
        with Served(tmp_path, *options) as other:
            listed = other.call("GET", "/v1/webhooks", key).json()["endpoints"]
            assert [found["id"] for found in listed] == [made.json()["id"]]
            for served in (one, other) * 2:
                served.create(key)
            receiver.wait_for(4)
            tried = other.call("POST", f"/v1/webhooks/{made.json()['id']}/test", key)
            assert (tried.json()["status"], tried.json()["problem"]) == (204, None)
    told = [got.verified(made.json()["secret"])["type"] for got in receiver.got]
    assert told == ["session.created"] * 4 + ["webhook.test"]
