"""A process of an older version never answers what it does not understand."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.testing import Clock
from tests.ledgers import sources_of
from tests.logs.openers import address

# The last commits before ledgers had marks, before they were compacted, and before they forgot.
BEFORE_MARKS = "59e06cb6"
BEFORE_CUTS = "4007d9ad"
BEFORE_FORGETTING = "6c2986c3"
OLDER = """
import sys
from sessionledger import LogUnavailable, SessionLedgerError, SessionStore
store = SessionStore.open(sys.argv[1])
print(store.create("alice").token, flush=True)
for token in sys.stdin:
    calls = (store.get, store.authenticate, store.touch, lambda _: store.create("bob"))
    answers = []
    for call in (*calls, lambda _: store.count()):
        try:
            answers.append(repr(call(token.strip())))
        except SessionLedgerError as error:
            answers.append(error.code)
    print(*answers, flush=True)
"""

FAILURES = (["log_unavailable"] * 5, ["corrupt_log"] * 5)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The sources of those versions."""
    commits = (BEFORE_MARKS, BEFORE_CUTS, BEFORE_FORGETTING)
    return {commit: sources_of(commit, tmp_path_factory.mktemp("older")) for commit in commits}


@pytest.fixture
def older(sources: dict[str, Path], commit: str) -> Path:
    return sources[commit]


@pytest.fixture(params=["sqlite", "file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, tmp_path / "ledger")


@pytest.fixture
def process(older: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    environment = os.environ | {"PYTHONPATH": str(older)}
    with subprocess.Popen(
        [sys.executable, "-c", OLDER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.middle
@pytest.mark.parametrize(
    ("commit", "url"),
    [
        (BEFORE_CUTS, "sqlite"),
        (BEFORE_FORGETTING, "sqlite"),
        (BEFORE_FORGETTING, "postgresql"),
    ],
    indirect=["url"],
)
def test_an_older_process_fails_once_a_newer_one_may_compact(
    process: subprocess.Popen[str], url: str
) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    token = process.stdout.readline().strip()
    with SessionStore.open(url) as store:
        process.stdin.write(f"{token}\n")
        process.stdin.flush()
        assert process.stdout.readline().split() == ["log_unavailable"] * 5
        assert store.get(token) is not None
        assert store.verify().ok


@pytest.mark.middle
@pytest.mark.parametrize("durable", [True, False])
@pytest.mark.parametrize(("commit", "url"), [(BEFORE_CUTS, "file")], indirect=["url"])
def test_an_older_process_fails_once_a_newer_one_has_compacted(
    older: Path, process: subprocess.Popen[str], url: str, durable: bool
) -> None:
    """Also one that opens the folder later, and knows nothing of what was acknowledged."""
    assert process.stdout is not None
    token = process.stdout.readline().strip()
    clock = Clock(datetime.now(UTC))
    with SessionStore.open(url, clock=clock, monotonic=lambda: clock.now.timestamp()) as store:
        assert answers(process, token)[0].startswith("Session(")
        clock.advance(timedelta(days=3))
        store.touch(token)
        assert store.compact(retention=timedelta(days=2)).sealed
        assert answers(process, token) == ["corrupt_log"] * 5
        if not durable:
            shutil.rmtree(Path(url.removeprefix("file://")) / "durable")
        run = [sys.executable, "-c", OLDER, url]
        environment = os.environ | {"PYTHONPATH": str(older)}
        later = subprocess.run(run, capture_output=True, text=True, env=environment, check=False)
        assert "CorruptLog" in later.stderr
        assert store.get(token) is not None
        assert store.verify().ok


@pytest.mark.middle
@pytest.mark.parametrize("commit", [BEFORE_MARKS])
def test_an_older_process_fails_once_there_is_a_mark(
    process: subprocess.Popen[str], url: str
) -> None:
    assert process.stdout is not None
    token = process.stdout.readline().strip()
    with SessionStore.open(url) as store:
        assert store.get(token) is not None
        store.revoke_everybody()
        for _ in range(2):
            assert answers(process, token) in FAILURES
            store.sweep()
        assert store.get(token) is None
        assert store.count() == 0


@pytest.mark.middle
@pytest.mark.parametrize("commit", [BEFORE_MARKS])
def test_an_older_process_fails_as_soon_as_a_newer_one_opened_its_database(
    process: subprocess.Popen[str], url: str
) -> None:
    """A file ledger has no schema: there the first event of a newer process does it."""
    assert process.stdout is not None
    token = process.stdout.readline().strip()
    assert answers(process, token)[0].startswith("Session(")
    with SessionStore.open(url) as store:
        if url.startswith("file:"):
            store.touch(token)
        assert answers(process, token) in FAILURES
        assert store.get(token) is not None
        assert store.verify().ok


def answers(process: subprocess.Popen[str], token: str) -> list[str]:
    """What the calls of an older process answer, or the codes of their errors."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{token}\n")
    process.stdin.flush()
    return process.stdout.readline().split()
