"""Request limits, over sockets: whom a flood stops, and whom it does not."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

from sessionledger.server import create_app
from sessionledger.testing.fixtures import until
from tests.server.conftest import SETTINGS
from tests.server.process.test_workers import children, connections
from tests.server.served import Served, make_key
from tests.server.web import Web, problem

LIMIT = 40
KINDS = ("key", "principal", "address")
RATES = [part for kind in KINDS for part in (f"--{kind}-requests-per-minute", f"{LIMIT}")]
TRUSTING = ("--no-access-log", "--trusted-proxies", "127.0.0.1", "--touch-interval", "1h")
NOT_LIVE = "harn_sess_" + "A" * 43
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
IDENTITY = ("principal", "handle", "expires", "scope", "client-id", "username")
_LIMITED = re.compile(r'^sessionledger_rate_limited_total\{limit="(\w+)"\} (\d+)$', re.MULTILINE)
_NAMES = count()

Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def two(folder: Path) -> Iterator[Served]:
    """Two workers behind a proxy on the loopback, which they trust."""
    with Served(folder, "--workers", "2", *TRUSTING, *RATES) as served:
        yield served


@pytest.fixture(scope="module")
def workers(two: Served) -> Iterator[list[httpx.Client]]:
    clients = [*connections(two).values()]
    yield clients
    for client in clients:
        client.close()


@pytest.fixture
def own_key(folder: Path) -> str:
    """A key of one test alone."""
    return make_key(folder, f"key-{next(_NAMES)}")


@pytest.fixture
def create(two: Served, own_key: str) -> Callable[[str], str]:
    """Creates a session of somebody whom no other test knows, and answers its token."""
    number = next(_NAMES)
    return lambda principal: str(two.create(own_key, f"{principal} {number}")["token"])


def asking(workers: list[httpx.Client], address: str) -> Ask:
    """Asks the workers in turn, for a client at an address that the proxy tells."""
    turns = count()

    def ask(path: str, bearer: str = "", method: str = "GET", **told: Any) -> httpx.Response:
        headers = {"X-Forwarded-For": address, **told.pop("headers", {})}
        if bearer:
            headers["Authorization"] = f"Bearer {bearer}"
        client = workers[next(turns) % len(workers)]
        return client.request(method, path, headers=headers, **told)

    return ask


def flood(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Send three times as many as allowed, of which so many are let in; the last answer."""
    begun = time.monotonic()
    answers = [ask() for _ in range(3 * LIMIT)]
    let_in = sum(answer.status_code != 429 for answer in answers)
    # A minute that begins meanwhile makes room, by and by.
    assert LIMIT - 1 <= let_in <= LIMIT + (time.monotonic() - begun) * LIMIT / 60 + 1
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    return answers[-1]


def limited(client: httpx.Client, address: str = "198.51.100.1") -> dict[str, int]:
    """How many requests were refused so far, by what the metrics say."""
    text = client.get("/metrics", headers={"X-Forwarded-For": address}).text
    return {name: int(number) for name, number in _LIMITED.findall(text)}


@pytest.mark.parametrize("path", ["/auth", "/v1/session"])
def test_a_flooding_bearer_is_refused_everywhere_and_nobody_else_is(
    workers: list[httpx.Client], create: Callable[[str], str], path: str
) -> None:
    mallory, same, alice = create("mallory"), create("mallory"), create("alice")
    ask = asking(workers, "192.0.2.1")
    first = ask(path, mallory)
    assert first.headers["ratelimit-policy"] == f'"principal";q={LIMIT};w=60'
    assert first.headers["ratelimit"].startswith(f'"principal";r={LIMIT - 1};t=')
    before = limited(workers[0])["principal"]
    refused = flood(lambda: ask(path, mallory))
    assert problem(refused) == (429, "too_many_requests", None)
    assert refused.headers["ratelimit"] == f'"principal";r=0;t={refused.headers["retry-after"]}'
    # Neither another session nor another address makes another principal.
    assert asking(workers, "192.0.2.2")(path, same).status_code == 429
    assert ask(path, alice).status_code == 200
    assert limited(workers[1])["principal"] > before + LIMIT
    assert ask("/v1/session", mallory, "DELETE").status_code == 204


def test_what_a_proxy_gets_for_a_flooding_bearer_names_nobody(
    workers: list[httpx.Client], create: Callable[[str], str]
) -> None:
    token, ask = create("mallory"), asking(workers, "192.0.2.1")
    refused = flood(lambda: ask("/auth", token))
    assert [refused.headers[f"x-auth-{name}"] for name in IDENTITY] == [""] * 6


@pytest.mark.parametrize(
    ("path", "sent", "status"),
    [
        ("/auth", {"bearer": NOT_LIVE}, 401),
        ("/auth", {}, 401),
        ("/v1/session", {"bearer": NOT_LIVE}, 401),
        ("/v1/stats", {}, 401),
        ("/introspect", {"method": "POST", "content": "token=x", "headers": FORM}, 401),
        ("/none", {"bearer": NOT_LIVE}, 404),
        ("/metrics", {}, 200),
        ("/openapi.json", {}, 200),
    ],
)
def test_who_authenticates_as_nobody_is_refused_by_address_and_good_tokens_are_not(
    workers: list[httpx.Client],
    create: Callable[[str], str],
    path: str,
    sent: dict[str, Any],
    status: int,
) -> None:
    network = f"2001:db8:{next(_NAMES):x}"
    alice, ask = create("alice"), asking(workers, f"{network}::1")
    first = ask(path, **sent)
    assert first.status_code == status
    assert first.headers["ratelimit"].startswith(f'"address";r={LIMIT - 1};t=')
    refused = flood(lambda: ask(path, **sent))
    assert refused.headers["ratelimit"] == f'"address";r=0;t={refused.headers["retry-after"]}'
    assert asking(workers, f"{network}::2:3:4:5")(path, **sent).status_code == 429
    assert asking(workers, f"{network}:1::1")(path, **sent).status_code == status
    assert ask("/auth", alice).status_code == 200
    assert ask("/healthz").status_code == ask("/readyz").status_code == 200


def test_a_thief_can_not_hide_reuse_behind_a_flood(
    two: Served, workers: list[httpx.Client], own_key: str
) -> None:
    """A replaced token that comes back ends its family, also from an address that is refused."""
    made, ask = two.create(own_key, "alice"), asking(workers, "192.0.2.66")
    path, at_login = f"/v1/sessions/{made['handle']}/rotate", {"grace": 0}
    thief = two.call("POST", path, own_key, json=at_login).json()["token"]
    flood(lambda: ask("/auth", NOT_LIVE))
    assert ask("/auth", thief).status_code == 200
    assert ask("/auth", made["token"]).status_code == 429
    assert asking(workers, "192.0.2.67")("/auth", thief).status_code == 401


def test_a_flooding_key_is_refused_and_can_still_end_sessions(
    workers: list[httpx.Client], create: Callable[[str], str], folder: Path, own_key: str
) -> None:
    token, other, ask = create("alice"), make_key(folder, "other"), asking(workers, "192.0.2.9")
    asked = {"method": "POST", "content": f"token={token}", "headers": FORM}
    refused = flood(lambda: ask("/introspect", own_key, **asked))
    assert refused.json()["error"] == "temporarily_unavailable"
    assert refused.headers["ratelimit"].startswith('"key";r=0;t=')
    assert problem(ask("/v1/stats", own_key)) == (429, "too_many_requests", None)
    unknown = {**asked, "content": f"token={NOT_LIVE}"}
    assert ask("/introspect", own_key, **unknown).status_code == 429
    assert ask("/introspect", other, **asked).json()["active"] is True
    assert ask("/revoke", own_key, **asked).status_code == 200
    assert ask("/introspect", other, **asked).json() == {"active": False}
    assert ask("/v1/sessions?principal=alice", own_key, "DELETE").status_code == 200


@pytest.mark.parametrize("name", ["X-Forwarded-For", "Forwarded"])
def test_whatever_a_client_invents_it_counts_where_the_proxy_saw_it(
    workers: list[httpx.Client], name: str
) -> None:
    invented, address = count(), {"X-Forwarded-For": "203.0.113.77", "Forwarded": "203.0.113.78"}
    node = "for={}" if name == "Forwarded" else "{}"
    client = workers[0]

    def ask() -> httpx.Response:
        number = next(invented)
        chain = f"{node.format(f'192.0.2.{number}')}, {node.format(address[name])}"
        return client.get("/auth", headers={name: chain})

    flood(ask)


@pytest.mark.middle
def test_a_worker_that_is_killed_stops_no_other_and_forgets_nothing(folder: Path, key: str) -> None:
    with Served(folder, "--workers", "2", *TRUSTING, *RATES) as served:
        clients = connections(served)
        flood(lambda: asking([*clients.values()], "192.0.2.3")("/auth"))
        killed, *rest = clients
        os.kill(killed, signal.SIGKILL)
        assert asking([clients[pid] for pid in rest], "192.0.2.3")("/auth").status_code == 429
        assert "ended by itself" in served.line()
        until(lambda: len(children(served.process.pid)) == 2)
        for client in connections(served).values():
            assert asking([client], "192.0.2.3")("/auth").status_code == 429
            assert asking([client], "192.0.2.4")("/auth").status_code == 401
            client.close()
        for client in clients.values():
            client.close()
        assert key


@pytest.mark.middle
def test_only_direct_clients_on_the_loopback_are_exempt(tmp_path: Path) -> None:
    with Served(tmp_path, "--no-access-log", *RATES) as served:
        for _ in range(2 * LIMIT):
            answer = served.call("GET", "/auth")
            assert (answer.status_code, "ratelimit" in answer.headers) == (401, False)
        told = count()

        def ask() -> httpx.Response:
            invented = {"X-Forwarded-For": f"192.0.2.{next(told)}"}
            return served.call("GET", "/auth", headers=invented)

        # Nobody trusts the proxy on the loopback: all its clients are one.
        flood(ask)
        assert served.call("GET", "/auth").status_code == 401


@pytest.mark.middle
def test_the_access_log_names_the_client_behind_trusted_proxies(tmp_path: Path) -> None:
    with Served(tmp_path, "--trusted-proxies", "127.0.0.1") as served:
        headers = {"X-Forwarded-For": "192.0.2.1, 203.0.113.7"}
        served.call("GET", "/auth", headers=headers)
        served.call("GET", "/v1/session", headers=headers)
        assert served.stop() == 0
        served.rest()
    assert [line["client"] for line in served.requests()] == ["203.0.113.7"] * 2


def test_limits_are_turned_off_by_name() -> None:
    unlimited = {f"{kind}_requests_per_minute": None for kind in KINDS}
    with Web(create_app(structs.replace(SETTINGS, **unlimited))) as web:
        for path in ("/auth", "/none", "/v1/stats", "/metrics"):
            answer = web("GET", path, headers={"Via": "1.1 proxy"})
            assert "ratelimit" not in answer.headers


def test_an_outage_is_counted_for_nobody() -> None:
    application = create_app(SETTINGS)
    with Web(application) as web:
        application.service._ledger = None
        for path in ("/auth", "/v1/session", "/readyz"):
            answer = web("GET", path, headers={"Via": "1.1 proxy"})
            assert (answer.status_code, "ratelimit" in answer.headers) == (503, False)
