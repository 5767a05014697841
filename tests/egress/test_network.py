from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import httpcore
import pytest

from sessionledger.egress.network import AddressRefused, CheckedNetwork
from tests.webhooks.receiving import Receiver


def get(
    url: str,
    allowed: Sequence[str],
    answers: Sequence[Sequence[str]] = (),
    timeout: float | None = None,
) -> int:
    """Send to a URL through a checked network; `answers` are those of the name server in turn."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0)

    async def send() -> int:
        network = CheckedNetwork(allowed, resolve) if answers else CheckedNetwork(allowed)
        async with httpcore.AsyncConnectionPool(network_backend=network) as pool:
            content, extensions = b'{"data":{"event_id":1}}', {"timeout": {"connect": timeout}}
            answer = await pool.request("POST", url, content=content, extensions=extensions)
            return answer.status

    return asyncio.run(send())


@contextmanager
def silent(port: int) -> Iterator[None]:
    """At `SILENT` the system answers nobody: its queue of connections is full."""
    with ExitStack() as stack:
        listening = stack.enter_context(socket.create_server((SILENT, port), backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listening.getsockname())
        yield


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::ffff:127.0.0.1]", "0x7f000001"])
def test_loopback_is_refused_by_any_name(receiver: Receiver, host: str) -> None:
    with pytest.raises(AddressRefused):
        get(f"http://{host}:{receiver.port}/", ())
    assert receiver.got == []


def test_a_host_is_allowed_by_its_name_alone(receiver: Receiver) -> None:
    assert get(receiver.url, ("localhost",)) == 204
    with pytest.raises(AddressRefused):
        get(f"http://127.0.0.1:{receiver.port}/", ("localhost",))


def test_a_name_is_asked_for_once_so_that_what_was_checked_is_connected_to(
    receiver: Receiver,
) -> None:
    """A name server that answers with a public address first and with loopback the next time."""
    rebinding = [["203.0.113.1", "127.0.0.1"], ["127.0.0.1"]]
    with pytest.raises(AddressRefused):
        get(f"http://rebinding.example:{receiver.port}/", (), rebinding)
    assert receiver.got == []


def test_the_address_that_was_answered_is_the_one_connected_to(receiver: Receiver) -> None:
    """The name exists nowhere: only the answer can have led there."""
    name = "nowhere.invalid"
    assert get(f"http://{name}:{receiver.port}/", (name,), [["127.0.0.1"]]) == 204
    assert receiver.got[0].headers["host"] == f"{name}:{receiver.port}"


CLOSED = ["::1", "127.0.0.2"]
SILENT = "127.0.0.3"


@pytest.mark.parametrize(
    "addresses",
    [
        ["::1", "127.0.0.1"],
        ["127.0.0.1", "::1"],
        [*CLOSED, *CLOSED, "127.0.0.1", SILENT],
        [SILENT, "127.0.0.1"],
        ["::1", SILENT, "127.0.0.1", "127.0.0.2"],
    ],
    ids=str,
)
def test_every_address_of_a_name_is_tried_in_turn(receiver: Receiver, addresses: list[str]) -> None:
    """A first address that refuses, or says nothing, does not keep a receiver from its messages."""
    name = "several.test"
    with silent(receiver.port):
        assert get(f"http://{name}:{receiver.port}/", (name,), [addresses], timeout=2.0) == 204
    assert len(receiver.got) == 1


def test_an_address_that_may_not_be_connected_to_is_not_tried(receiver: Receiver) -> None:
    answers = [["127.0.0.1", "::ffff:127.0.0.1", "::7f00:1", "fe80::1%lo"]]
    with pytest.raises(AddressRefused):
        get(f"http://several.test:{receiver.port}/", (), answers)
    assert receiver.got == []


def test_where_no_address_answers_the_last_failure_tells(receiver: Receiver) -> None:
    with pytest.raises(httpcore.ConnectError):
        get(f"http://several.test:{receiver.port}/", ("several.test",), [CLOSED])


@pytest.mark.parametrize("host", ["a..b", ".", f"{'x' * 64}.com"])
def test_a_name_that_no_host_can_have_can_not_be_reached(host: str) -> None:
    with pytest.raises(OSError, match="no name of a host"):
        get(f"https://{host}/", ())
