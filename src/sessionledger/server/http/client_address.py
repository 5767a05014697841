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
MAX_CHAIN_BYTES = 512
IPV6_PREFIX = 64
"""What a provider gives to one customer, at least. Its addresses are one client's."""

_CACHED = 4096
_CHAINS = frozenset((b"x-forwarded-for", b"forwarded"))
_TOLD = (b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-method", b"x-original-method")
_BY_PROXIES = frozenset((*_CHAINS, *_TOLD, b"x-real-ip", b"via"))
_NODE = re.compile(r"\[(?P<ipv6>[^]]*)\](?::\w*)?|(?P<ipv4>[0-9.]+):\w*|(?P<bare>.*)", re.ASCII)
_PAIR = rb'\s*[\w-]+=(?:"[^"\\]*"|[^\s;"\\]*)\s*(?:;|$)'
_PAIRS = re.compile(rb"(?:%b)*" % _PAIR)  # no piece of a quoted text: its quotes are uneven
_FOR = re.compile(rb'(?:%b)*?\s*for="?([^\s;"]*)' % _PAIR, re.IGNORECASE)


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
        self._client_in = lru_cache(_CACHED)(self._find_client)

    def client_of(self, peer: str | None, headers: RawHeaders) -> str:
        """The address of the client. peer: whoever is connected; None at a Unix socket."""
        peer = peer or UNIX
        if not self._is_trusted(peer):
            return peer
        chains: dict[bytes, bytes] = {}
        for name, value in headers:
            if name in _CHAINS:
                chains[name] = chains[name] + b"," + value if name in chains else value
        told = {self._client_in(peer, _end_of(chain)) for chain in chains.values()}
        return told.pop() if len(told) == 1 else peer

    def is_direct(self, peer: str | None, headers: RawHeaders) -> bool:
        """Whether a program on this machine asks for itself: over the loopback, by no proxy."""
        if peer is None or not _is_loopback(peer) or self._is_trusted(peer):
            return False
        return _BY_PROXIES.isdisjoint([name for name, _ in headers])

    def _find_client(self, peer: str, chain: bytes) -> str:
        address = peer
        for hop in reversed(chain.split(b",")):
            told = _address_in(hop) if self._is_trusted(address) else None
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
    return str(parsed or address)


def _end_of(chain: bytes) -> bytes:
    """The last whole hops of a chain that may be of any length."""
    return chain if len(chain) <= MAX_CHAIN_BYTES else chain[-MAX_CHAIN_BYTES:].partition(b",")[2]


def _address_in(hop: bytes) -> str | None:
    """The address that one proxy named; None where it named none."""
    if b"=" in hop:
        found = _FOR.match(hop) if _PAIRS.fullmatch(hop) else None
        hop = b"" if found is None else found[1]
    node = _NODE.fullmatch(hop.strip().decode("latin-1"))
    parsed = None if node is None else _parsed(node["ipv6"] or node["ipv4"] or node["bare"])
    return None if parsed is None else str(parsed).partition("%")[0]


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
