"""Connections to endpoints: only to an address that was checked, and is the one connected to.

A name is resolved once for each connection, and the connection goes to an address of that answer:
a name server that answers otherwise a moment later (DNS rebinding) changes nothing. What is not
reachable for everybody (RFC 6890: loopback, private, link-local with its metadata services, ...) is
refused, unless the endpoint's host was allowed by its name.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

import anyio
import httpcore

_NAT64 = IPv6Network("64:ff9b::/96")
_NAT64_LOCAL = IPv6Network("64:ff9b:1::/48")


class AddressRefused(Exception):
    """A host is at no address that may be connected to."""


def is_public(address: str) -> bool:
    """Whether an address is one that everybody on the Internet may reach, in all its disguises."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = _inside(found)
        if inner is not None:
            return is_public(str(inner))
        if found in _NAT64_LOCAL:
            return False
    return found.is_global and not found.is_multicast


def _inside(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 address leads to."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order of the system's preference. Raises `OSError`."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[4][0]) for address in found]


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects by TCP, to checked addresses.

    allowed: host names, in lower case, that may be anywhere.
    """

    def __init__(self, allowed: Iterable[str], resolver: Callable[..., Any] = resolve) -> None:
        self._allowed = frozenset(allowed)
        self._resolve = resolver
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        address = await self._checked(host, port, timeout)
        return await self._network.connect_tcp(
            address, port, timeout, local_address, socket_options
        )

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _checked(self, host: str, port: int, timeout: float | None) -> str:
        with anyio.fail_after(timeout):
            addresses = await self._resolve(host, port)
        for address in addresses:
            if host.lower() in self._allowed or is_public(address):
                return str(address)
        raise AddressRefused(f"{host} is at no public address: allow it by its name, if it may be")
