from __future__ import annotations

import asyncio
from collections.abc import Sequence

import httpcore
import pytest

from sessionledger.webhooks.network import AddressRefused, CheckedNetwork, is_public
from tests.webhooks.receiving import Receiver

PUBLIC = ("93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "64:ff9b::808:808")
REFUSED = (
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2001:db8::1"),
)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_everybody_may_reach_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_somebodys_own_is_not(address: str) -> None:
    assert not is_public(address)


def get(url: str, allowed: Sequence[str], answers: Sequence[Sequence[str]] = ()) -> int:
    """Send to a URL through a checked network; `answers` are those of the name server in turn."""
    left = list(answers)

    async def resolve(host: str, port: int) -> Sequence[str]:
        return left.pop(0)

    async def send() -> int:
        network = CheckedNetwork(allowed, resolve) if answers else CheckedNetwork(allowed)
        async with httpcore.AsyncConnectionPool(network_backend=network) as pool:
            answer = await pool.request("POST", url, content=b'{"data":{"event_id":1}}')
            return answer.status

    return asyncio.run(send())


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
