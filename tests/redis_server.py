"""A Redis of the test run. Each test has a database of its own, which is empty."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import redis

from tests.servers import once, program, run_folder, serve

DATABASES = 64
_numbers = count()


@contextmanager
def database() -> Iterator[str]:
    """The URL of an empty database."""
    socket = once("redis", _start)
    # The processes of a run share the server: each has its own databases.
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    number = (worker + 8 * next(_numbers)) % DATABASES
    url = f"unix://{socket}?db={number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url


def _start() -> str:
    at = run_folder() / "redis"
    at.mkdir()
    options = {"port": "0", "unixsocket": f"{at}/socket", "save": "", "databases": str(DATABASES)}
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    serve(at, [program("redis-server"), *words], ready="accept connections at")
    return f"{at}/socket"
