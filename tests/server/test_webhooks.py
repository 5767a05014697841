"""The service delivers webhooks by itself, once, however many workers it has."""

from __future__ import annotations

from pathlib import Path

import httpx

from sessionledger.webhooks.endpoint_file import EndpointFile
from sessionledger.webhooks.endpoints import new_endpoint
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
