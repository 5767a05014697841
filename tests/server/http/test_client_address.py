"""Who the client is: as far as trusted proxies tell, and no further."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger.server.http.client_address import ClientAddresses, client_network

PROXY, CLIENT = "10.0.0.1", "203.0.113.7"
FOR, FORWARDED = b"x-forwarded-for", b"forwarded"
TRUSTING = ClientAddresses(["10.0.0.0/8", "2001:db8:ffff::/48"])


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        (PROXY, {}, PROXY),
        (PROXY, {FOR: b"203.0.113.7"}, CLIENT),
        (PROXY, {FOR: b"203.0.113.7:4711"}, CLIENT),
        (PROXY, {FOR: b"::ffff:203.0.113.7"}, CLIENT),
        (PROXY, {FOR: b"[2001:db8::1]:4711"}, "2001:db8::1"),
        (PROXY, {FOR: b"2001:DB8:0::1"}, "2001:db8::1"),
        (PROXY, {FOR: b"198.51.100.1, 203.0.113.7, 10.2.2.2"}, CLIENT),
        (PROXY, {FOR: b"198.51.100.1, 203.0.113.7, 192.0.2.9"}, "192.0.2.9"),
        (PROXY, {FOR: b"10.1.1.1, 10.2.2.2"}, "10.1.1.1"),
        (PROXY, {FOR: b"unknown"}, PROXY),
        (PROXY, {FOR: b"203.0.113.7, unknown, 10.2.2.2"}, "10.2.2.2"),
        (PROXY, {FOR: b"203.0.113.7,"}, PROXY),
        (PROXY, {FOR: b"203.0.113." + b"7" * 300}, PROXY),
        (PROXY, {FOR: b"1" * 600 + b", 203.0.113.7, 10.2.2.2"}, CLIENT),
        (PROXY, {FOR: b"203.0.113.7" + b", 10.2.2.2" * 99}, "10.2.2.2"),
        (PROXY, {FOR: b"1" * 500 + b"203.0.113.7 "}, PROXY),
        (PROXY, {FORWARDED: b"for=203.0.113.7;proto=https;by=10.0.0.1"}, CLIENT),
        (PROXY, {FORWARDED: b'proto=https; FOR="203.0.113.7:80"'}, CLIENT),
        (PROXY, {FORWARDED: b'for="[2001:db8::1]:4711"'}, "2001:db8::1"),
        (PROXY, {FORWARDED: b'for=198.51.100.1, for="evil, for=203.0.113.7'}, CLIENT),
        (PROXY, {FORWARDED: b"for=_hidden"}, PROXY),
        (PROXY, {FORWARDED: b'for=203.0.113.7;host="a,for=192.0.2.9;b"'}, PROXY),
        (PROXY, {FORWARDED: b'for=203.0.113.7;host="a,for=192.0.2.9;b=\\""'}, PROXY),
        (PROXY, {FORWARDED: b'host="a;for=192.0.2.9;b";for=203.0.113.7'}, CLIENT),
        (PROXY, {FORWARDED: b" a = ;" * 40 + b'"'}, PROXY),
        (PROXY, {FOR: b"fe80::1%written-by-the-client"}, "fe80::1"),
        (PROXY, {FORWARDED: b"proto=https;x-for=203.0.113.7"}, PROXY),
        (PROXY, {FOR: b"203.0.113.7", FORWARDED: b"for=203.0.113.7"}, CLIENT),
        (PROXY, {FOR: b"203.0.113.7", FORWARDED: b"for=192.0.2.9"}, PROXY),
        ("::ffff:10.0.0.1", {FOR: b"203.0.113.7"}, CLIENT),
        ("2001:db8:ffff::5", {FOR: b"203.0.113.7"}, CLIENT),
        ("192.0.2.1", {FOR: b"203.0.113.7"}, "192.0.2.1"),
        ("127.0.0.1", {FOR: b"203.0.113.7"}, "127.0.0.1"),
        (None, {FOR: b"203.0.113.7"}, "unix"),
    ],
)
def test_only_what_trusted_proxies_wrote_is_believed(
    peer: str | None, headers: dict[bytes, bytes], client: str
) -> None:
    assert TRUSTING.client_of(peer, [*headers.items()]) == client


def test_a_peer_at_a_unix_socket_is_trusted_by_that_name() -> None:
    headers = [(FOR, b"203.0.113.7")]
    assert ClientAddresses(["unix"]).client_of(None, headers) == CLIENT
    assert ClientAddresses(["unix"]).client_of(PROXY, headers) == PROXY


@given(st.lists(st.binary(max_size=60), max_size=30), st.booleans())
def test_whatever_a_client_writes_it_is_where_its_proxy_saw_it(
    invented: list[bytes], is_forwarded: bool
) -> None:
    name, seen = (FORWARDED, b"for=203.0.113.7") if is_forwarded else (FOR, b"203.0.113.7")
    lines = [*((name, value) for value in invented), (name, seen)]
    assert TRUSTING.client_of(PROXY, lines) == CLIENT
    joined = [(name, b",".join([*invented, seen]))]
    assert TRUSTING.client_of(PROXY, joined) == CLIENT


@pytest.mark.parametrize(
    ("peer", "name", "is_direct"),
    [
        ("127.0.0.1", b"host", True),
        ("127.9.9.9", b"host", True),
        ("::1", b"host", True),
        ("::ffff:127.0.0.1", b"host", True),
        ("127.0.0.1", FOR, False),
        ("127.0.0.1", FORWARDED, False),
        ("127.0.0.1", b"x-original-method", False),
        ("127.0.0.1", b"via", False),
        ("10.0.0.1", b"host", False),
        ("192.0.2.1", b"host", False),
        ("localhost", b"host", False),
        (None, b"host", False),
    ],
)
def test_who_asks_for_itself_is_on_the_loopback_and_no_proxy(
    peer: str | None, name: bytes, is_direct: bool
) -> None:
    assert TRUSTING.is_direct(peer, [(name, b"x")]) is is_direct
    assert not ClientAddresses(["127.0.0.0/8", "::1"]).is_direct(peer, [(name, b"x")])


def test_an_ipv6_client_is_its_network() -> None:
    assert client_network("2001:db8:1:2:3:4:5:6") == client_network("2001:db8:1:2::")
    assert client_network("2001:db8:1:2::") != client_network("2001:db8:1:3::")
    assert client_network(CLIENT) == CLIENT
    assert client_network("unix") == "unix"


@pytest.mark.parametrize("wrong", ["10.0.0.1/8", "proxy.test", "", "0.0.0.0/0", "::/0", "*"])
def test_what_is_no_network_is_refused_as_a_proxy(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"address|network|host bits"):
        ClientAddresses([wrong])


def test_one_client_is_counted_once_however_its_address_is_written() -> None:
    assert client_network("::ffff:203.0.113.7") == client_network(CLIENT) == CLIENT
