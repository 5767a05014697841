"""Settings of the service, each with the value that is safe where nothing is said."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_address
from typing import Any

import msgspec

from sessionledger import InvalidURL, Policy, parse_url
from sessionledger.core.lifetimes import parse_retention
from sessionledger.server.http.client_address import ClientAddresses
from sessionledger.web.challenges import is_quotable
from sessionledger.web.credentials import is_cookie_name
from sessionledger.web.cross_site import is_origin
from sessionledger.webhooks.endpoints import is_host

SESSIONS_TOPIC = "orchestrator.sessions"
KEYS_TOPIC = "sessionledger.keys"
REPLAYS_TOPIC = "sessionledger.replays"

_OURS = (KEYS_TOPIC, REPLAYS_TOPIC)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How the service runs. Raises `ValueError`, whose message names the setting.

    ledger: the address of the ledger; topic: where its sessions are; durability, max_staleness:
        as `open_log`.
    policy: what sessions are allowed.
    host, port, workers: where it listens, and how many processes do.
    realm: what `WWW-Authenticate` calls the service; cookie: where `/auth` looks for a token when
        there is no `Authorization`; audience: the `aud` of introspection, None for none.
    trusted_origins: whose pages may use that cookie too, such as `https://app.example.org`.
    cross_site_cookies: True lets every site use it: the application refuses forged requests.
    max_body_bytes, max_header_bytes: of one request; max_streams: of events, for each worker.
    key_requests_per_minute, principal_requests_per_minute, address_requests_per_minute: of each
        admin key, principal, and address of those who authenticate as nobody; None for any number.
    writes_per_minute: that one family may cause; a principal ten times as many.
    trusted_proxies: networks, such as `10.0.0.0/8`, whose `X-Forwarded-For` or `Forwarded` names
        the client, and `unix` for any peer at a Unix socket.
    request_timeout: for a request to arrive and be answered; keep_alive: for the next one to begin.
    stop_timeout: for what is under way when the service is told to stop.
    heartbeat: between signs of life on a quiet stream; stream_lifetime: until its client has to
        come back, and goes on where it was.
    sweep_interval: None to sweep elsewhere.
    retention: how long events are kept, in every topic of sessions; None to keep all of them.
    archive: the folder that gets a copy of what is removed; None for no copy.
    maintenance_interval: how often older ones are removed, by one worker.
    webhooks: the file of endpoints that are told what happens; None for the ledger's own.
    webhook_hosts: names of hosts that may be private, or without TLS, in endpoints made over HTTP.
    backchannel: the file with a `Provider` whose logout tokens end sessions; None for no provider.
    access_log: whether each request is a line on stderr.
    console: whether the console is served beside it, by one worker, at console_address.
    console_hosts: the names by which browsers reach the console, such as `console.example.org`;
        none means the names of the loopback.
    """

    ledger: str = "sqlite:///sessions.db"
    topic: str = SESSIONS_TOPIC
    durability: str = "full"
    max_staleness: timedelta | None = None
    policy: Policy = Policy()
    host: str = "127.0.0.1"
    port: int = 8420
    workers: int = 1
    realm: str = "sessionledger"
    cookie: str = "__Host-session"
    audience: str | None = None
    trusted_origins: tuple[str, ...] = ()
    cross_site_cookies: bool = False
    max_body_bytes: int = 128 * 1024
    max_header_bytes: int = 64 * 1024
    max_streams: int = 1000
    key_requests_per_minute: int | None = 120_000
    principal_requests_per_minute: int | None = 6_000
    address_requests_per_minute: int | None = 6_000
    writes_per_minute: int = 120
    trusted_proxies: tuple[str, ...] = ()
    request_timeout: timedelta = timedelta(seconds=15)
    keep_alive: timedelta = timedelta(seconds=150)
    stop_timeout: timedelta = timedelta(seconds=10)
    heartbeat: timedelta = timedelta(seconds=15)
    stream_lifetime: timedelta = timedelta(hours=1)
    sweep_interval: timedelta | None = timedelta(minutes=1)
    retention: timedelta | None = None
    archive: str | None = None
    maintenance_interval: timedelta = timedelta(hours=1)
    webhooks: str | None = None
    webhook_hosts: tuple[str, ...] = ()
    backchannel: str | None = None
    access_log: bool = True
    console: bool = False
    console_address: str = "127.0.0.1:8421"
    console_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.topic in _OURS:
            raise ValueError(f"topic must not be {self.topic}, which holds no sessions")
        if not is_cookie_name(self.cookie):
            raise ValueError("cookie must be the name of a cookie")
        if not all(map(is_origin, self.trusted_origins)):
            raise ValueError("trusted_origins must be origins such as https://app.example.org")
        if not is_quotable(self.realm):
            raise ValueError("realm must be printable ASCII without quotes and backslashes")
        try:
            ClientAddresses(self.trusted_proxies)
        except ValueError as error:
            raise ValueError(f"trusted_proxies must be networks, or unix: {error}") from None
        if not all(map(is_host, self.webhook_hosts)):
            raise ValueError("webhook_hosts must be names of hosts in lower case, without a port")
        self._check_numbers()
        if self.retention is not None:
            parse_retention(self.retention)
        elif self.archive is not None:
            raise ValueError("archive needs a retention: without one nothing is removed")
        self._check_console()

    def _check_console(self) -> None:
        host, _ = split_address(self.console_address)
        if not self.console_hosts and not ip_address(host).is_loopback:
            raise ValueError(
                f"console_address is {host}, which other machines reach: console_hosts must name "
                "the hosts that browsers use, such as console.example.org"
            )

    def _check_numbers(self) -> None:
        if not 0 <= self.port <= _LAST_PORT:
            raise ValueError(f"port must be 0 to {_LAST_PORT}")
        for name in _COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more")
        for name, most in _RATES.items():
            rate = getattr(self, name)
            if rate is not None and not 1 <= rate <= most:
                raise ValueError(f"{name} must be 1 to {most}, or none for requests; got {rate}")
        for name in _SPANS:
            if getattr(self, name) <= timedelta(0):
                raise ValueError(f"{name} must be longer than nothing")


def split_address(address: str) -> tuple[str, int]:
    """The IP address and the port of `127.0.0.1:8421` or `[::1]:8421`. Raises `ValueError`."""
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ip_address(host)
        if not 0 <= int(port) <= _LAST_PORT:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"console_address must be an IP address and a port, such as 127.0.0.1:8421, "
            f"got {address!r}"
        ) from None
    return host, int(port)


_LAST_PORT = 65535
_COUNTS = ("workers", "max_body_bytes", "max_header_bytes", "max_streams")
_RATES = {
    "key_requests_per_minute": 1_000_000,
    "principal_requests_per_minute": 1_000_000,
    "address_requests_per_minute": 1_000_000,
    "writes_per_minute": 100_000,
}
_SPANS = (
    "request_timeout",
    "keep_alive",
    "stop_timeout",
    "heartbeat",
    "stream_lifetime",
    "maintenance_interval",
)


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as they may be shown. Of an address that can't be read nothing is."""
    flat = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    try:
        flat["ledger"] = parse_url(settings.ledger).location
    except InvalidURL:
        flat["ledger"] = "***"
    policy = flat.pop("policy")
    return flat | {name: getattr(policy, name) for name in Policy.__struct_fields__}
