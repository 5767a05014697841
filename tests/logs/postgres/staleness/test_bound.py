"""The bound, checked from outside: how long after its acknowledged end a session was found live.

The time runs from when the end was answered to when the read began. So no scheduling, and no stop
of a process, makes the figure too large.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from sessionledger import LogUnavailable, SessionStore
from sessionledger.logs.postgres.staleness.confirmed_rows import since_boot
from sessionledger.testing.fixtures import until
from tests import postgres_server
from tests.logs.children import ROOT
from tests.logs.postgres.cutting import Way
from tests.logs.postgres.standing_still import Swallower
from tests.postgres_server import address, execute, schema
from tests.servers import run_folder, serve

BOUND = 1.0
READING = "tests.logs.postgres.staleness.reading_child"
SESSIONS = 150
COLOURS = ("sync", "async")
TROUBLES = ("nothing", "cut", "stop", "swallow", "step")
# Each trouble in one colour, and in the other one where there is more time.
EACH = [
    pytest.param(trouble, colour, marks=pytest.mark.slow if (t + c) % 2 else pytest.mark.middle)
    for t, trouble in enumerate(TROUBLES)
    for c, colour in enumerate(COLOURS)
]


class Reader:
    """A child that reads all the time. stale: how late it found ended sessions live at most."""

    def __init__(self, process: subprocess.Popen[str], tokens: list[str]) -> None:
        self.process, self.tokens = process, tokens
        self._tell = threading.Lock()
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self.ask("read " + " ".join(tokens))

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with self._tell:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return self.process.stdout.readline()

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.ask("tell"))
        return told

    def reads(self, more: int) -> None:
        """Wait until it has read so many more times."""
        before = self.told()["reads"]
        until(lambda: self.told()["reads"] >= before + more)

    def is_warm(self) -> bool:
        """Whether it answers nearly everything from memory now."""
        before = self.told()
        self.reads(len(self.tokens) * 4)
        after = self.told()
        answered: int = after["reads"] - before["reads"]
        return bool((after["trips"] - before["trips"]) * 2 < answered)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def most_late(self, ended: dict[str, int]) -> float:
        """Seconds from an acknowledged end to the last read that found the session live."""
        last: dict[str, int] = self.told()["last"]
        return max((last.get(token, 0) - at) / 1e9 for token, at in ended.items())


@contextmanager
def reading(
    url: str, tokens: list[str], colour: str = "sync", rules: str = "all"
) -> Iterator[Reader]:
    command = [sys.executable, "-m", READING, url, str(BOUND), colour, rules]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as process:
        try:
            reader = Reader(process, tokens)
            until(reader.is_warm)
            yield reader
        finally:
            process.kill()


def end(store: SessionStore, tokens: list[str], ended: dict[str, int]) -> None:
    """End sessions, and note when each end was acknowledged."""
    for token in tokens:
        store.expire(token)
        ended[token] = since_boot()


def pass_time(seconds: float) -> None:
    """Time is what this is about: nothing else tells that a bound is over."""
    over = threading.Event()
    over.wait(seconds)


def cut_connections(place: Path) -> None:
    """End those of the reader, its tail's too."""
    execute(
        f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = '{_name(place)}'"""
    )


def _name(place: Path) -> str:
    return f"reader_{schema(place)[-20:]}"


Trouble = Callable[[Reader, SessionStore, list[str], dict[str, int]], None]


def troubles(place: Path, swallower: Swallower) -> dict[str, Trouble]:
    """What happens while sessions end."""

    def nothing(_: Reader, store: SessionStore, tokens: list[str], ended: dict[str, int]) -> None:
        end(store, tokens, ended)

    def cut(_: Reader, store: SessionStore, tokens: list[str], ended: dict[str, int]) -> None:
        for token in tokens:
            end(store, [token], ended)
            if random.random() < 0.1:
                cut_connections(place)

    def stop(reader: Reader, store: SessionStore, tokens: list[str], ended: dict[str, int]) -> None:
        with reader.stopped():
            end(store, tokens, ended)
            pass_time(BOUND * 1.5)
        reader.reads(2 * len(reader.tokens))

    def swallow(
        reader: Reader, store: SessionStore, tokens: list[str], ended: dict[str, int]
    ) -> None:
        with swallower.standing_still():
            end(store, tokens, ended)
            pass_time(BOUND * 1.5)
            reader.reads(1)

    def step(reader: Reader, store: SessionStore, tokens: list[str], ended: dict[str, int]) -> None:
        for number, seconds in enumerate((3600.0, -7200.0, 0.1, 3599.9, -0.3)):
            reader.ask(f"step {seconds}")
            end(store, tokens[number::5], ended)

    return {"nothing": nothing, "cut": cut, "stop": stop, "swallow": swallow, "step": step}


@contextmanager
def ledger(place: Path, sessions: int) -> Iterator[tuple[SessionStore, list[str], str, Swallower]]:
    """A store of others, sessions, the address for a reader, and the network in between."""
    with ExitStack() as stack:
        store = stack.enter_context(SessionStore.open(address(place)))
        tokens = [store.create(f"user {number}").token for number in range(sessions)]
        swallower = Swallower()
        stack.callback(swallower.close)
        yield store, tokens, f"{swallower.url(place)}&application_name={_name(place)}", swallower


@contextmanager
def load(store: SessionStore, tokens: list[str]) -> Iterator[None]:
    """Other sessions are touched meanwhile, by another thread."""
    over = threading.Event()

    def touch() -> None:
        while not over.is_set():
            with suppress(LogUnavailable):
                store.patch(random.choice(tokens), {"at": time.monotonic_ns()})

    toucher = threading.Thread(target=touch)
    toucher.start()
    try:
        yield
    finally:
        over.set()
        toucher.join()


@pytest.mark.parametrize(("trouble", "colour"), EACH)
def test_no_session_is_found_live_for_longer_than_the_bound(
    trouble: str, colour: str, tmp_path: Path
) -> None:
    with (
        ledger(tmp_path, SESSIONS) as (store, tokens, url, swallower),
        reading(url, tokens, colour) as reader,
    ):
        ended: dict[str, int] = {}
        with load(store, tokens[:5]):
            troubles(tmp_path, swallower)[trouble](reader, store, tokens[5:60], ended)
        pass_time(BOUND)
        reader.reads(2 * len(tokens))
        assert len(ended) == 55
        assert reader.most_late(ended) <= BOUND
        assert reader.told()["trips"] < reader.told()["reads"]


@pytest.mark.slow
@pytest.mark.parametrize("colour", COLOURS)
def test_thousands_of_ends_amid_all_troubles_keep_to_the_bound(colour: str, tmp_path: Path) -> None:
    with ledger(tmp_path, 2600) as (store, tokens, url, swallower):
        kinds = troubles(tmp_path, swallower)
        left, most = tokens[100:], 0.0
        while left:
            some, left = left[:250], left[250:]
            with reading(url, [*tokens[:100], *some], colour) as reader, load(store, tokens[:100]):
                for number, kind in enumerate(kinds):
                    ended: dict[str, int] = {}
                    kinds[kind](reader, store, some[number :: len(kinds)], ended)
                    reader.reads(len(tokens))
                    most = max(most, reader.most_late(ended))
        assert most <= BOUND


@pytest.mark.middle
def test_the_checker_finds_a_cache_that_does_not_look_at_clocks(tmp_path: Path) -> None:
    with (
        ledger(tmp_path, SESSIONS) as (store, tokens, url, swallower),
        reading(url, tokens, rules="no clocks") as reader,
    ):
        ended: dict[str, int] = {}
        troubles(tmp_path, swallower)["swallow"](reader, store, tokens[5:60], ended)
        until(lambda: reader.most_late(ended) > BOUND)


# -- a server in the place of another one

CLONE = "clone"


def clone(place: Path, of: Path) -> Path:
    """Start a server that has what another one has now; the folder of its socket."""
    user = postgres_server.not_root(place)
    data, found = place / "data", postgres_server.programs()
    copy: list[str | Path] = [
        found / "pg_basebackup",
        "-D",
        data,
        "-h",
        of,
        "-U",
        "postgres",
        "-c",
        "fast",
    ]
    subprocess.run(copy, cwd=place, user=user, check=True, capture_output=True)
    command: list[str | Path] = [found / "postgres", "-D", data, "-c", "listen_addresses="]
    command += ["-c", f"unix_socket_directories={place}"]
    serve(place, command, ready="ready to accept", end="QUIT", user=user)
    return place


def swapped(monkeypatch: pytest.MonkeyPatch, place: Path, rules: str) -> tuple[float, bool]:
    """Let a reader's server be swapped for one that lags, with the same ids for other events.

    How late the session that ended there was found live, at most, in seconds after the swap; and
    whether it is still found live two bounds after it.
    """
    postgres_server.use_a_server_apart(monkeypatch)
    with ExitStack() as stack:
        store = stack.enter_context(SessionStore.open(address(place)))
        tokens = [store.create("alice").token for _ in range(20)]
        folder = run_folder() / f"{CLONE}-{_name(place)}"
        folder.mkdir()
        lagging = clone(folder, postgres_server.socket_path().parent)
        there = f"postgresql://postgres@/postgres?host={lagging}&schema={schema(place)}"
        others = stack.enter_context(SessionStore.open(there))
        way = Way(place)
        stack.callback(way.close)
        by_way = f"{way.address}&schema={schema(place)}&application_name={_name(place)}"
        reader = stack.enter_context(reading(by_way, tokens, rules=rules))
        for number in range(5):
            store.patch(tokens[-1], {"number": number})
        until(reader.is_warm)
        others.expire(tokens[0])
        for number in range(5):
            others.patch(tokens[-1], {"number": -number})
        way._server = str(lagging / ".s.PGSQL.5432")
        cut_connections(place)
        at = {tokens[0]: since_boot()}
        pass_time(2 * BOUND)
        until(reader.is_warm)
        late = reader.most_late(at)
        reader.reads(2 * len(tokens))
        return late, reader.most_late(at) > late


@pytest.mark.middle
def test_a_lagging_server_in_the_place_of_another_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late, is_live = swapped(monkeypatch, tmp_path, "all")
    assert late <= BOUND
    assert not is_live


@pytest.mark.slow
def test_the_checker_finds_a_tail_that_does_not_compare_hashes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    late, is_live = swapped(monkeypatch, tmp_path, "no hashes")
    assert late > BOUND
    assert is_live
