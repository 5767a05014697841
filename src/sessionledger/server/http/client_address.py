"""The address of the client, behind proxies that are trusted to tell it.

1. Each proxy names its own peer at the end of `X-Forwarded-For`, or of `Forwarded` (RFC 7239). So
   these are read from the end, and only as far as a trusted proxy wrote: the rest may be invented.
2. A proxy that writes one of them may pass on what a client wrote into the other. Where both are
   there and differ, neither is believed.
3. Behind what can't be read, the client is the last proxy that could be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

from sessionledger.web.credentials import RawHeaders

UNIX = "unix"  # a peer at a Unix socket, which has no address
MAX_HOPS = 16
MAX_NODE_BYTES = 256
IPV6_PREFIX = 64
"""What a provider gives to one customer, at least. Its addresses are one client's."""

_CACHED = 4096
_CHAINS = (b"x-forwarded-for", b"forwarded")
_TOLD = (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-method", b"x-original-method")
_BY_PROXIES = frozenset((*_CHAINS, *_TOLD, b"x-real-ip", b"via"))
_NODE = re.compile(r"\[(?P<ipv6>[^]]*)\](?::\w*)?|(?P<ipv4>[0-9.]+):\w*|(?P<bare>.*)", re.ASCII)
_FOR = re.compile(rb'(?:^|;)\s*for\s*=\s*(?:"([^"]*)"|([^\s;"]*))\s*(?:;|$)', re.IGNORECASE)


class ClientAddresses:
    """Finds the client of each request. trusted: networks, addresses and `unix`.

    Raises `ValueError` for anything else.
    """

    def __init__(self, trusted: Iterable[str]) -> None:
        names = frozenset(trusted)
        networks = [ip_network(name) for name in names - {UNIX}]
        if not all(network.prefixlen for network in networks):
            raise ValueError("a network of all addresses trusts everybody")

        @lru_cache(_CACHED)
        def is_trusted(address: str) -> bool:
            if address == UNIX:
                return UNIX in names
            parsed = _parsed(address)
            return parsed is not None and any(parsed in network for network in networks)

        self._is_trusted = is_trusted

    def client_of(self, peer: str | None, headers: RawHeaders) -> str:
        """The address of the client. peer: whoever is connected; None at a Unix socket."""
        peer = peer or UNIX
        if not self._is_trusted(peer):
            return peer
        chains: dict[bytes, list[bytes]] = {}
        for name, value in headers:
            if name in _CHAINS:
                chains.setdefault(name, []).append(value)
        told = {self._client_in(peer, b",".join(values)) for values in chains.values()}
        return told.pop() if len(told) == 1 else peer

    def is_direct(self, peer: str | None, headers: RawHeaders) -> bool:
        """Whether a program on this machine asks for itself: over the loopback, by no proxy."""
        if peer is None or not _is_loopback(peer) or self._is_trusted(peer):
            return False
        return not any(name in _BY_PROXIES for name, _ in headers)

    def _client_in(self, peer: str, chain: bytes) -> str:
        address = peer
        for hop in reversed(chain.rsplit(b",", MAX_HOPS)[-MAX_HOPS:]):
            if len(hop) > MAX_NODE_BYTES or not self._is_trusted(address):
                break
            told = _address_in(hop)
            if told is None:
                break
            address = told
        return address


@lru_cache(_CACHED)
def client_network(address: str) -> str:
    """What is counted as one client: an IPv4 address, or an IPv6 network."""
    parsed = _parsed(address)
    if isinstance(parsed, IPv6Address):
        return str(IPv6Network((parsed.packed, IPV6_PREFIX), strict=False))
    return address


@lru_cache(_CACHED)
def _address_in(hop: bytes) -> str | None:
    """The address that one proxy named; None where it named none."""
    if b"=" in hop:
        found = _FOR.search(hop.strip())
        hop = b"" if found is None else found[1] or found[2]
    node = _NODE.fullmatch(hop.strip().decode("latin-1"))
    parsed = None if node is None else _parsed(node["ipv6"] or node["ipv4"] or node["bare"])
    return None if parsed is None else str(parsed)


@lru_cache(_CACHED)
def _is_loopback(address: str) -> bool:
    parsed = _parsed(address)
    return parsed is not None and parsed.is_loopback


def _parsed(text: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(text or "")
    except ValueError:
        return None
    return getattr(parsed, "ipv4_mapped", None) or parsed
