"""The log that the documentation walks through passes the suite, run as a stranger runs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_docs import ROOT, program_of

STRANGER = """
[pytest]
addopts = --strict-markers --strict-config
filterwarnings = error
"""


@pytest.mark.middle
def test_the_log_of_the_page_passes_the_suite(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text(STRANGER)
    (tmp_path / "test_my_log.py").write_text(program_of(ROOT / "docs" / "writing-a-log.md"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    told = ran.stdout.splitlines()[-1]
    assert " passed" in told
    assert "failed" not in told
