"""The access log: whole lines of JSON, in order, none lost, and none with a token in it."""

from __future__ import annotations

import asyncio
import json
import socket
from datetime import datetime
from pathlib import Path
from time import perf_counter

from sessionledger.server.observe.access_log import RequestRecorder
from sessionledger.server.observe.metrics import RequestMetrics
from sessionledger.server.service.keys import Key
from sessionledger.server.service.limits import RequestCount, RequestLimits
from sessionledger.server.settings import Settings
from tests.server.served import PATIENCE_SECONDS, Served, make_key

KEY = Key("app", "sha256:v1:" + "0" * 64, frozenset(["introspect"]))


def count_of(metrics: RequestMetrics, peer: str | None) -> RequestCount:
    limits = RequestLimits(Settings(), metrics.subjects, metrics.count_limited)
    return RequestCount(limits, peer, [])


def test_requests_of_a_few_milliseconds_are_written_together_and_in_order() -> None:
    handed: list[bytes] = []
    metrics = RequestMetrics(["/auth", "/introspect"])
    counted: list[str] = []

    async def answer() -> None:
        written = asyncio.Event()

        def write(lines: bytes) -> None:
            handed.append(lines)
            written.set()

        recorder = RequestRecorder(metrics, write)
        bearer, admin = count_of(metrics, "::1"), count_of(metrics, None)
        admin.take_key(KEY, "introspect")
        recorder.record("GET", "/auth", 200, perf_counter() - 12, bearer)
        recorder.record("POST", "/introspect", 401, perf_counter(), admin)
        assert handed == []
        await written.wait()
        recorder.record("GET", "/auth", 503, perf_counter(), bearer)
        counted.append(metrics.exposition(None).decode())
        recorder.flush()

    asyncio.run(answer())
    assert [text.count(b"\n") for text in handed] == [2, 1]
    lines = [json.loads(line) for text in handed for line in text.splitlines()]
    times = [datetime.fromisoformat(line.pop("time")) for line in lines]
    assert times == sorted(times)
    assert [line.pop("milliseconds") >= 12_000 for line in lines] == [True, False, False]
    auth = {"method": "GET", "route": "/auth", "client": "::1"}
    introspect = {"method": "POST", "route": "/introspect", "client": "unix", "key": "app"}
    assert lines == [
        auth | {"status": 200},
        introspect | {"status": 401},
        auth | {"status": 503},
    ]
    assert 'requests_total{route="/auth",status="503"} 1\n' in counted[0]
    assert 'requests_total{route="/introspect",status="401"} 1\n' in counted[0]


def test_a_stop_loses_no_line_of_what_was_answered(tmp_path: Path) -> None:
    key = make_key(tmp_path, "app", "introspect", "sessions:create")
    with Served(tmp_path) as served:
        token = str(served.create(key)["token"])
        asked = b"\r\n".join(
            [
                b"POST /introspect HTTP/1.1",
                b"host: here",
                b"authorization: Bearer " + key.encode(),
                b"content-type: application/x-www-form-urlencoded",
                b"content-length: %d" % len(b"token=" + token.encode()),
                b"",
                b"token=" + token.encode(),
            ]
        )
        passed = b"GET /auth HTTP/1.1\r\nauthorization: Bearer " + token.encode() + b"\r\n\r\n"
        with socket.create_connection(served.address, PATIENCE_SECONDS) as connection:
            connection.sendall((asked + passed) * 20)
            told = b""
            while told.count(b"HTTP/1.1 200 OK") < 40:
                told += connection.recv(65536)
            assert served.stop() == 0
        served.rest()
    lines = [(line["route"], line["status"], line.get("key")) for line in served.requests()]
    assert lines[0] == ("/v1/sessions", 201, "app")
    assert lines[1:] == [("/introspect", 200, "app"), ("/auth", 200, None)] * 20
    assert token not in str(served.told)
    assert key not in str(served.told)
