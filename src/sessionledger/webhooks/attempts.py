"""One attempt to send a message to an endpoint, over a network that checks addresses."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from secrets import token_hex

import httpcore
import msgspec

from sessionledger.egress.network import AddressRefused, CheckedNetwork
from sessionledger.webhooks import signing
from sessionledger.webhooks.endpoints import Endpoint
from sessionledger.webhooks.messages import test_body

TIMEOUT = 20.0
"""Seconds for each step of an attempt: to connect, to send, and to be answered."""

TEST_TIMEOUT = 5.0
"""The same for a test, whose caller waits for it."""

KEEP_ALIVE = 60.0


class Attempt(msgspec.Struct, frozen=True):
    """What became of a message. Nothing is repeated that the receiver wrote.

    status: of the answer, None without one. problem: why the message does not count as delivered;
    None if it does. seconds: how long the attempt took.
    """

    status: int | None
    problem: str | None
    seconds: float


def pool_for(endpoint: Endpoint) -> httpcore.AsyncConnectionPool:
    """Connections to an endpoint."""
    allowed = (endpoint.host,) if endpoint.allowed else ()
    return httpcore.AsyncConnectionPool(
        network_backend=CheckedNetwork(allowed), max_connections=1, keepalive_expiry=KEEP_ALIVE
    )


async def attempt(
    pool: httpcore.AsyncConnectionPool,
    endpoint: Endpoint,
    id: str,
    body: bytes,
    timeout: float = TIMEOUT,
) -> Attempt:
    """Send a message once."""
    begun = time.monotonic()
    status, problem = await _sent(pool, endpoint, id, body, timeout)
    return Attempt(status, problem, round(time.monotonic() - begun, 3))


def send_test(endpoint: Endpoint) -> Attempt:
    """Send a message that is about no event, also to an endpoint that is disabled.

    It runs an event loop of its own.
    """
    return asyncio.run(_send_test(endpoint))


async def _send_test(endpoint: Endpoint) -> Attempt:
    id = f"msg_{endpoint.id}_test_{token_hex(6)}"
    body = test_body(endpoint.id, datetime.now(UTC))
    async with pool_for(endpoint) as pool:
        return await attempt(pool, endpoint, id, body, TEST_TIMEOUT)


async def _sent(
    pool: httpcore.AsyncConnectionPool, endpoint: Endpoint, id: str, body: bytes, timeout: float
) -> tuple[int | None, str | None]:
    headers = {
        "content-type": "application/json",
        "user-agent": "sessionledger",
        **signing.headers(endpoint.secret, id, int(time.time()), body),
    }
    named = [(name.encode(), value.encode()) for name, value in headers.items()]
    timeouts = dict.fromkeys(("connect", "write", "read", "pool"), timeout)
    try:
        # A redirect is an answer like any other, and not followed; the body is not read.
        async with (
            asyncio.timeout(2 * timeout),
            pool.stream(
                "POST",
                endpoint.url,
                headers=named,
                content=body,
                extensions={"timeout": timeouts},
            ) as answer,
        ):
            is_taken = answer.status in range(200, 300)
            return answer.status, None if is_taken else f"answered {answer.status}"
    except AddressRefused as error:
        return None, str(error)
    except (httpcore.TimeoutException, TimeoutError):
        return None, f"took longer than {timeout:.0f} seconds"
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        return None, f"can't be reached: {type(error).__name__}"
