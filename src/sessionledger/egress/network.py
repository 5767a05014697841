"""Connections to endpoints: only to an address that was checked, and is the one connected to.

A name is resolved once for each connection. The connection goes to a public address of that
answer, so a name server that changes its answer a moment later (DNS rebinding) gains nothing. If an
address does not answer, the next one is tried. An endpoint's host may be allowed by its name: then
it may be at any address. Addresses that are not public may be allowed by their network.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any

import anyio
import httpcore

from sessionledger.egress.addresses import is_public

# A name server that does not answer keeps these threads, and none that others wait for.
_resolvers = ThreadPoolExecutor(8, "sessionledger-resolve")


class AddressRefused(Exception):
    """A host is at no address that may be connected to."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order of the system's preference. Raises `OSError`."""
    ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
    try:
        found = await asyncio.get_running_loop().run_in_executor(_resolvers, ask)
    except UnicodeError:  # a label that is empty or too long
        raise OSError("that is no name of a host") from None
    return [str(address[4][0]) for address in found]


class CheckedNetwork(httpcore.AsyncNetworkBackend):
    """Connects by TCP, to checked addresses.

    allowed: host names, in lower case, that may be anywhere. networks: allowed beside what is
    public, or without it if `public` is False.
    """

    def __init__(
        self,
        allowed: Iterable[str] = (),
        resolver: Callable[..., Any] = resolve,
        networks: Iterable[IPv4Network | IPv6Network] = (),
        public: bool = True,
    ) -> None:
        self._allowed, self._networks = frozenset(allowed), tuple(networks)
        self._resolve, self._public = resolver, public
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        deadline = anyio.current_time() + (float("inf") if timeout is None else timeout)
        addresses = await self._checked(host, port, timeout)
        failure: Exception | None = None
        for tried, address in enumerate(addresses):
            # A silent address must not use up the time of those after it.
            left = (deadline - anyio.current_time()) / (len(addresses) - tried)
            share = None if timeout is None else max(left, 0)
            try:
                return await self._network.connect_tcp(
                    address, port, share, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        if failure is None:
            raise AddressRefused(
                f"{host} is at no public address: allow its name or its network, if it may be"
            )
        raise failure

    async def sleep(self, seconds: float) -> None:
        await self._network.sleep(seconds)

    async def _checked(self, host: str, port: int, timeout: float | None) -> list[str]:
        """The addresses of a host that may be connected to, in the system's order."""
        with anyio.fail_after(timeout):
            addresses = await self._resolve(host, port)
        allowed = host.lower() in self._allowed
        return [one for one in dict.fromkeys(addresses) if allowed or self._may_be_at(one)]

    def _may_be_at(self, address: str) -> bool:
        is_allowed = any(ip_address(address) in network for network in self._networks)
        return is_allowed or (self._public and is_public(address))
