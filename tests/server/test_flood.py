"""One bearer floods the service: what it causes is bounded, and its end is final."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.server.served import Served

RATE = 30
"""Rotations that a family may have within a minute."""


class Flood(threading.Thread):
    """Rotates its token as fast as it is answered, until it is told that the token is not good."""

    def __init__(self, url: str, token: str) -> None:
        super().__init__()
        self.url = url
        self.token = token
        self.accepted = self.refused = 0
        self.stopped = threading.Event()

    def run(self) -> None:
        with httpx.Client(base_url=self.url) as client:
            while not self.stopped.is_set():
                header = {"Authorization": f"Bearer {self.token}"}
                answer = client.post("/v1/session/rotate", headers=header)
                if answer.status_code == 401:
                    return
                self.accepted += answer.status_code == 200
                self.refused += answer.status_code == 429
                self.token = answer.json().get("token", self.token)


@pytest.mark.slow
@pytest.mark.parametrize("requests", [3000])
def test_a_flood_is_bounded_and_ends_with_its_session(
    served: Served, folder: Path, key: str, requests: int
) -> None:
    begun = time.monotonic()
    bearer, other = served.create(key, "mallory"), served.create(key, "alice")
    before = sum(path.stat().st_size for path in folder.glob("**/*") if path.is_file())
    flood = Flood(served.url, bearer["token"])
    flood.start()
    waits: list[float] = []
    while flood.accepted + flood.refused < requests:
        since = time.monotonic()
        assert served.call("GET", "/v1/session", other["token"]).status_code == 200
        waits.append(time.monotonic() - since)
    since = time.monotonic()
    ended = served.call("DELETE", f"/v1/sessions/{bearer['handle']}", key)
    took = time.monotonic() - since
    flood.join()
    assert ended.status_code == 200
    assert served.call("GET", "/v1/session", flood.token).status_code == 401
    minutes = (time.monotonic() - begun) / 60
    assert flood.accepted <= RATE * (1 + minutes)
    grown = sum(path.stat().st_size for path in folder.glob("**/*") if path.is_file()) - before
    waits.sort()
    print(
        f"{60 * minutes:.0f} s: {flood.accepted} accepted, {flood.refused} refused, {grown} bytes; "
        f"others {1e3 * waits[len(waits) // 2]:.1f} ms, {1e3 * waits[-len(waits) // 100]:.1f} ms "
        f"at 99 %; the end {1e3 * took:.1f} ms"
    )
