from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sessionledger.egress.addresses import is_public

PUBLIC = (
    *("93.184.216.34", "8.8.8.8", "1.1.1.1", "100.63.255.255", "100.128.0.0", "172.32.0.1"),
    *("168.63.129.15", "192.0.1.1", "198.20.0.1", "223.255.255.255"),
    *("2606:4700:4700::1111", "2001:4860:4860::8888", "2a00:1450:4001::1", "2001:200::1"),
    *("64:ff9b::808:808", "::ffff:8.8.8.8"),
)
REFUSED = (
    *("127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::1"),
    *("2002:7f00:1::", "2001:db8::1"),
)
# Each of these is global to `ipaddress` in some release of Python that this package runs on.
GLOBAL_TO_SOME_PYTHON = {
    "anycast of IETF protocols": "192.0.0.9",
    "AS112": "192.31.196.1",
    "AMT": "192.52.193.1",
    "a 6to4 relay": "192.88.99.1",
    "AS112, once more": "192.175.48.1",
    "multicast": "224.0.1.1",
    "Azure's host services": "168.63.129.16",
    "IPv4-compatible loopback": "::7f00:1",
    "IPv4-translated loopback": "::ffff:0:7f00:1",
    "site-local": "fec0::1",
    "local NAT64": "64:ff9b:1::a00:1",
    "not handed out": "4000::1",
    "segment routing": "5f00::1",
    "discard-only, the second": "100:0:0:1::1",
    "documentation, the second": "3fff::1",
    "ORCHIDv2": "2001:20::1",
    "drones": "2001:30::1",
    "anycast of IETF protocols in IPv6": "2001:1::1",
    "AMT in IPv6": "2001:3::1",
    "AS112 in IPv6": "2001:4:112::1",
    "AS112 in IPv6, once more": "2620:4f:8000::1",
    "Teredo that leads to a public address": "2001:0:808:808:0:3fff:f7f7:f7f7",
    "6to4 that leads to a public address": "2002:808:808::1",
    "a public address with a zone": "2606:4700:4700::1111%eth0",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_what_everybody_may_reach_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("address", REFUSED)
def test_what_is_somebodys_own_is_not(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("name", GLOBAL_TO_SOME_PYTHON)
def test_the_answer_does_not_depend_on_the_release_of_python(name: str) -> None:
    assert not is_public(GLOBAL_TO_SOME_PYTHON[name])


# No block of the registries is narrower, but for single addresses that stand above.
IPV4_BLOCKS = st.integers(0, 2**24 - 1).map(lambda block: ipaddress.IPv4Address(block << 8 | 1))
IPV6_BLOCKS = st.integers(0, 2**48 - 1).map(lambda block: ipaddress.IPv6Address(block << 80 | 1))


@settings(max_examples=2000)
@given(IPV4_BLOCKS | IPV6_BLOCKS)
def test_whatever_this_python_calls_special_is_not_public(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert not is_public(str(address))


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "0x7f000001", "8.8.8.8 ", "::1::"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="does not appear to be an IPv4 or IPv6 address"):
        is_public(text)
