"""/v1/events: a client that comes back misses nothing and sees nothing twice."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest

from sessionledger import SessionStore
from sessionledger.testing.fixtures import until
from tests.server.served import Served, make_key
from tests.server.web import Web, problem

OPTIONS = ("--no-access-log", "--heartbeat", "1s", "--max-streams", "2")


class Listening:
    """A client of server-sent events, after the HTML standard, section 9.2."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.last_id = ""
        self._lines = answer.iter_lines()

    def events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Id and data of each event, until the stream ends."""
        data = ""
        for line in self._lines:
            name, _, value = line.partition(": ")
            if name == "id":
                self.last_id = value
            elif name == "data":
                data = value
            elif not line and data:
                yield self.last_id, json.loads(data)
                data = ""

    def until_caught_up(self) -> None:
        for line in self._lines:
            if line.startswith(":"):
                break
        self.last_id = next(self._lines).removeprefix("id: ")


@contextmanager
def listening(served: Served, key: str, query: str = "", **headers: str) -> Iterator[Listening]:
    told = {"Authorization": f"Bearer {key}"} | {k.replace("_", "-"): v for k, v in headers.items()}
    with served.client.stream("GET", f"/v1/events{query}", headers=told) as answer:
        assert answer.status_code == 200, answer.read()
        yield Listening(answer)


def test_what_happens_is_told_as_it_happens(served: Served, folder: Path, key: str) -> None:
    with listening(served, key) as stream:
        stream.until_caught_up()
        assert stream.answer.headers["content-type"].startswith("text/event-stream")
        assert stream.answer.headers["cache-control"] == "no-store"
        with SessionStore.open(f"sqlite:///{folder}/sessions.db") as store:
            made = store.create("alice", reason="signed in")
        id, told = next(stream.events())
    assert (told["kind"], told["handle"]) == ("session_created", made.handle)
    assert (told["reason"], told["principal"]) == ("signed in", "alice")
    assert id == str(told["event_id"]) == str(made.version)
    assert made.token not in json.dumps(told)


def test_only_those_of_a_principal_are_told(served: Served, key: str) -> None:
    with listening(served, key, "?principal=carol") as stream:
        stream.until_caught_up()
        before = stream.last_id
        served.create(key, "dave")
        carol = served.create(key, "carol")
        id, told = next(stream.events())
    assert told["handle"] == carol["handle"]
    assert int(id) > int(before)


def test_a_client_resumes_over_a_restart(tmp_path: Path) -> None:
    key = make_key(tmp_path, "root")
    seen: list[str] = []
    with Served(tmp_path, "--no-access-log") as first:
        port = first.address[1]
        with listening(first, key, "?after=0") as stream:
            stream.until_caught_up()
            made = [first.create(key, f"user-{n}")["handle"] for n in range(3)]
            events = stream.events()
            seen += [next(events)[1]["handle"] for _ in range(3)]
            first.process.terminate()
            assert list(events) == [], "the stream ends properly"
            last = stream.last_id
        assert first.ended() == 0
    with SessionStore.open(f"sqlite:///{tmp_path}/sessions.db") as store:
        made += [store.create("meanwhile").handle for _ in range(2)]
    with Served(tmp_path, "--no-access-log", port=port) as second:
        made.append(second.create(key, "afterwards")["handle"])
        with listening(second, key, Last_Event_ID=last) as stream:
            events = stream.events()
            seen += [next(events)[1]["handle"] for _ in range(3)]
    assert seen == made


def test_a_stream_ends_with_its_key(served: Served, folder: Path) -> None:
    key = make_key(folder, "watcher", "events:read")
    with listening(served, key) as stream:
        stream.until_caught_up()
        with SessionStore.open(
            f"sqlite:///{folder}/sessions.db", topic="sessionledger.keys"
        ) as keys:
            keys.expire(key)
        assert list(stream.events()) == []


def test_so_many_streams_may_be_open(served: Served, key: str) -> None:
    # Those of other tests are gone once that is noticed.
    until(lambda: "sessionledger_event_streams 0" in served.call("GET", "/metrics").text)
    with listening(served, key) as one, httpx.Client(base_url=served.url) as client:
        one.until_caught_up()
        admin = {"Authorization": f"Bearer {key}"}
        with client.stream("GET", "/v1/events", headers=admin) as two:
            other = Listening(two)
            other.until_caught_up()
            assert "sessionledger_event_streams 2" in served.call("GET", "/metrics").text
            answer = served.call("GET", "/v1/events", key)
            assert (answer.status_code, answer.json()["code"]) == (503, "too_many_streams")


def test_an_empty_last_event_id_is_none(served: Served, key: str) -> None:
    """A client that saw no event has an empty one, and some send it."""
    created = served.create(key, "dora")
    for query, first in (("", ""), ("?after=0", "session_created")):
        with listening(served, key, query, Last_Event_ID="") as stream:
            if not first:
                stream.until_caught_up()
            assert not first or next(stream.events())[1]["kind"] == first
    assert created["principal"] == "dora"


@pytest.mark.parametrize(
    ("query", "headers", "status", "field"),
    [
        ("?after=x", {}, 400, "after"),
        ("?after=-1", {}, 400, "after"),
        ("", {"Last-Event-ID": "x"}, 400, "Last-Event-ID"),
        ("", {"Last-Event-ID": "9" * 19}, 400, "Last-Event-ID"),
        ("?principal=%20", {}, 422, "principal"),
        ("?after=99999", {}, 422, "after"),
        ("", {"Last-Event-ID": "99999"}, 422, "Last-Event-ID"),
    ],
)
def test_what_can_t_be_taken_is_named(
    web: Web, query: str, headers: dict[str, str], status: int, field: str
) -> None:
    answer = web("GET", f"/v1/events{query}", headers=headers)
    assert problem(answer)[::2] == (status, field)


def test_it_takes_a_right(web: Web) -> None:
    answer = web("GET", "/v1/events", token=web.make_key("reader", "sessions:read"))
    assert problem(answer)[0] == 403


def test_a_stream_ends_after_its_time_and_is_gone_on_with(folder: Path, key: str) -> None:
    with Served(
        folder, "--no-access-log", "--stream-lifetime", "1s", "--max-streams", "1"
    ) as served:
        with listening(served, key) as stream:
            stream.until_caught_up()
            assert list(stream.events()) == []
        made = served.create(key, "alice")
        with listening(served, key, Last_Event_ID=stream.last_id) as stream:
            _, told = next(stream.events())
    assert told["handle"] == made["handle"]


@pytest.mark.middle
def test_who_reads_nothing_is_hung_up_on(folder: Path, key: str) -> None:
    """And does not hold the place of others until TCP gives up."""
    short = ("--stream-lifetime", "1s", "--request-timeout", "1s", "--max-streams", "1")
    with Served(folder, "--no-access-log", *short) as served:
        with SessionStore.open(f"sqlite:///{folder}/sessions.db") as store:
            for number in range(200):
                store.create("alice", attributes={"text": "x" * 60_000, "number": number})
        with served.client.stream(
            "GET", "/v1/events?after=0", headers={"Authorization": f"Bearer {key}"}
        ) as stuck:
            assert stuck.status_code == 200
            until(lambda: place_is_free(served, key))


@pytest.mark.middle
def test_a_client_that_falls_behind_misses_nothing(folder: Path, key: str) -> None:
    """More happens than its connection and the newest frames hold, and it reads all of it later."""
    with (
        Served(folder, "--no-access-log", "--request-timeout", "5m") as served,
        listening(served, key) as stream,
    ):
        stream.until_caught_up()
        with SessionStore.open(f"sqlite:///{folder}/sessions.db") as store:
            text = "x" * 60_000
            made = [store.create("alice", attributes={"text": text}).handle for _ in range(250)]
        with listening(served, key) as other:
            other.until_caught_up()
        told = [event["handle"] for _, event in islice(stream.events(), len(made))]
    assert told == made


@pytest.mark.slow
def test_a_thousand_streams_are_told_and_end_with_their_key(tmp_path: Path) -> None:
    key, watching = make_key(tmp_path, "root"), make_key(tmp_path, "watcher", "events:read")
    asked = f"GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {watching}\r\n\r\n"

    async def begin(served: Served) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection(*served.address)
        writer.write(asked.encode())
        await reader.readuntil(b": caught up")
        readers[reader] = writer
        return reader

    async def watch(served: Served) -> list[bytes]:
        streams = [await begin(served) for _ in range(1000)]
        made = await asyncio.to_thread(served.create, key)
        told = await asyncio.gather(*(one.readuntil(made["handle"].encode()) for one in streams))
        with SessionStore.open(
            f"sqlite:///{tmp_path}/sessions.db", topic="sessionledger.keys"
        ) as keys:
            keys.expire(watching)
        await asyncio.gather(*(one.readuntil(b"\r\n0\r\n\r\n") for one in streams))
        for writer in readers.values():
            writer.close()
        return told

    readers: dict[asyncio.StreamReader, asyncio.StreamWriter] = {}
    with Served(tmp_path, "--no-access-log") as served:
        told = asyncio.run(watch(served))
        until(lambda: "sessionledger_event_streams 0" in served.call("GET", "/metrics").text)
    assert len([one for one in told if b"event: session_created" in one]) == 1000


def place_is_free(served: Served, key: str) -> bool:
    headers = {"Authorization": f"Bearer {key}"}
    with httpx.stream("GET", f"{served.url}/v1/events", headers=headers) as answer:
        return answer.status_code == 200
