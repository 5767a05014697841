"""What each tier runs, tried on a few tests in a pytest of their own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.middle
ROOT = Path(__file__).parent.parent
TESTS = """
import pytest

LOGS = pytest.mark.parametrize("log", ["memory", "sqlite", "file"])

@LOGS
@pytest.mark.parametrize("size", ["small", "large"])
def test_of_a_store(log, size): pass

@LOGS
@pytest.mark.every_log
def test_of_a_log(log): pass

@pytest.mark.sampled
@pytest.mark.parametrize("command", ["get", "create", "revoke"])
def test_of_a_command(command): pass

@pytest.mark.middle
def test_of_the_middle(): pass

@pytest.mark.slow
def test_of_all(): assert False
"""
SETUP = """
[pytest]
addopts = -p tests.tiers -p no:xdist --strict-markers
markers = middle
    slow
    every_log
    sampled
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "pytest.ini").write_text(SETUP)
    (tmp_path / "test_some.py").write_text(TESTS)
    return tmp_path


def run(folder: Path, *options: str) -> list[str]:
    """The ids of the tests that ran, without their file."""
    command = [sys.executable, "-m", "pytest", "-v", "--rootdir", str(folder), *options]
    path = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run(command, cwd=folder, env=path, capture_output=True, text=True, check=False)
    lines = ran.stdout.splitlines()
    return [line.split("::")[1].split()[0] for line in lines if line.startswith("test_some.py::")]


def test_the_fast_tier_runs_one_log_of_each_test_and_size(folder: Path) -> None:
    ran = run(folder, "--tier=fast")
    assert len(ran) == 2 + 3 + 1
    assert [sum(size in test for test in ran) for size in ("small", "large")] == [1, 1]
    assert ran == run(folder, "--tier=fast"), "another log than last time"


def test_the_middle_tier_is_the_default_and_runs_every_log(folder: Path) -> None:
    ran = run(folder)
    assert len(ran) == 6 + 3 + 3 + 1
    assert "test_of_the_middle" in ran
    assert ran == run(folder, "--tier=middle")


def test_all_is_all(folder: Path) -> None:
    assert len(run(folder, "--tier=all")) == 6 + 3 + 3 + 1 + 1


def test_a_test_that_is_named_runs_in_any_tier(folder: Path) -> None:
    assert run(folder, "--tier=fast", "test_some.py::test_of_the_middle") == ["test_of_the_middle"]


def test_a_record_says_how_it_ended(folder: Path) -> None:
    run(folder, "--tier=all", "--record=record.json")
    told = json.loads((folder / "record.json").read_text())
    assert (told["tier"], told["passed"], told["failed"], told["error"]) == ("all", 13, 1, 0)
