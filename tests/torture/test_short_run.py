"""Each scenario once, in small."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.servers import program


@pytest.mark.middle
@pytest.mark.parametrize("log", ["sqlite", "file", "postgresql"])
def test_a_short_run_finds_no_fault(log: str) -> None:
    program("cc")
    command = [sys.executable, "-m", "torture", "--seconds", "0", "--only", log]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
