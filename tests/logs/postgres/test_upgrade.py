"""Processes of the version before this one and of this one, on one ledger, side by side."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import SessionStore
from tests.ledgers import sources_of
from tests.postgres_server import address

BEFORE = "e72d4a71"
"""The last commit whose statements, functions and tables are of the version before."""
OLDER = """
import sys
from sessionledger import SessionStore
with SessionStore.open(sys.argv[1]) as store:
    for line in sys.stdin:
        call, _, token = line.strip().partition(" ")
        if call == "create":
            print(store.create("alice").token, flush=True)
        elif call == "get":
            print(store.get(token) is not None, flush=True)
        elif call == "expire":
            print(store.expire(token) is not None, flush=True)
        elif call == "touch":
            print(store.touch(token) is not None, flush=True)
        else:
            print(store.verify().ok and not store.diagnose(), flush=True)
"""


class Older:
    """A process of the older version, which is asked line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(self, *words: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(*words, file=self._process.stdin, flush=True)
        return self._process.stdout.readline().strip()


@pytest.fixture
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sources_of(BEFORE, tmp_path_factory.mktemp("older"))


@pytest.fixture
def older(tmp_path: Path, sources: Path) -> Iterator[Older]:
    with subprocess.Popen(
        [sys.executable, "-c", OLDER, address(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": str(sources)},
    ) as process:
        found = Older(process)
        assert found("check") == "True"
        yield found
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.middle
def test_an_older_process_does_not_open_a_ledger_with_a_newer_schema(
    tmp_path: Path, sources: Path
) -> None:
    SessionStore.open(address(tmp_path)).close()
    refused = subprocess.run(
        [sys.executable, "-c", OLDER, address(tmp_path)],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"PYTHONPATH": str(sources)},
        check=False,
    )
    assert refused.returncode != 0
    assert "was written by a newer sessionledger" in refused.stderr


@pytest.mark.middle
def test_both_see_at_once_what_the_other_one_writes(older: Older, tmp_path: Path) -> None:
    with SessionStore.open(address(tmp_path)) as store:
        for _ in range(20):
            theirs, ours = older("create"), store.create("bob").token
            assert older("touch", ours) == "True"
            assert store.touch(theirs) is not None
            assert older("expire", ours) == "True"
            assert store.get(ours) is None
            assert store.expire(theirs) is not None
            assert older("get", theirs) == "False"
        assert older("check") == "True"
        assert store.verify().ok
        assert not store.diagnose()
        assert store.stats().events == 120
