"""Processes that change sessions and processes that read them, each read held against what had been
acknowledged before it began."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.testing.fixtures import PATIENCE
from tests.logs.sqlite import racing

ROOT = Path(__file__).parents[4]
WRITERS = ("revise_first", "revise_second", "append_bare", "revoke", "reset_log")


@contextmanager
def running(role: str, folder: Path, number: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.logs.sqlite.racing", role, str(folder), str(number)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def race(folder: Path, roles: tuple[str, ...], answered: int, killed: int = 0) -> None:
    """Run all roles until so many changes were answered, and so many writers killed meanwhile, and
    all did something. Raises `AssertionError` when a process failed.
    """
    board = racing.prepare(folder)
    with ExitStack() as stack:
        processes = [stack.enter_context(running(role, folder, n)) for n, role in enumerate(roles)]
        for n in range(killed):
            _kill_one(folder, board, n)
        everybody = board.done[: len(roles)]
        _wait_for(
            lambda: board.over or (sum(board.answered[:18]) >= answered and 0 not in everybody)
        )
        board.end()
        for role, process in zip(roles, processes, strict=True):
            _, err = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, f"{role}: {err}"
    with SessionStore.open(f"sqlite:///{racing.database(folder)}") as store:
        assert all(store.get(token) for token in racing.tokens_of(folder)[:18])


def _kill_one(folder: Path, board: racing.Board, n: int) -> None:
    """Start a writer and kill it amid its work. What it did not acknowledge may have happened."""
    with running("revise_second", folder, racing.PROCESSES - 1) as writer:
        enough = sum(board.acknowledged[6:12]) + 1 + n % 20
        _wait_for(lambda: sum(board.acknowledged[6:12]) >= enough or board.over)
        writer.send_signal(signal.SIGKILL)


def _wait_for(condition: Callable[[], bool]) -> None:
    never = threading.Event()
    while not condition():
        never.wait(0.001)


def test_no_read_misses_what_was_acknowledged(tmp_path: Path) -> None:
    race(tmp_path, (*WRITERS, "read", "read"), answered=200)


@pytest.mark.middle
def test_no_read_misses_what_a_killed_writer_acknowledged(tmp_path: Path) -> None:
    roles = ("revise_first", "reset_log", "read", "read")
    race(tmp_path, roles, answered=100, killed=3)


@pytest.mark.middle
def test_no_read_misses_what_was_acknowledged_amid_rebuilds(tmp_path: Path) -> None:
    race(tmp_path, ("revise_first", "rebuild", "reset_log", "read"), answered=100)


def test_a_cache_that_drops_nothing_is_found_out(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="was answered, and"):
        race(tmp_path, ("revise_first", "read_without_dropping"), answered=1_000_000)


@pytest.mark.slow
def test_no_read_misses_what_was_acknowledged_for_long(tmp_path: Path) -> None:
    race(tmp_path, (*WRITERS, "read", "read", "read"), answered=60_000)


@pytest.mark.slow
def test_no_read_misses_what_killed_writers_acknowledged_for_long(tmp_path: Path) -> None:
    roles = ("revise_first", "append_bare", "reset_log", "read", "read")
    race(tmp_path, roles, answered=1000, killed=200)
