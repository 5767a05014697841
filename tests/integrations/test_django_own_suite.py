"""Django's own tests of session engines pass, from its source distributions (`make .peers`)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# It looks into the table of Django's own engine, where nothing of ours is.
EXCEPTIONS = {"test_empty_session_saved"}


def sources() -> list[Path]:
    """The distributions that are there, of those that run on this Python."""
    return [path for path in sorted((ROOT / ".peers").glob("django-*/")) if runs_here(path)]


def runs_here(source: Path) -> bool:
    needed = re.search(r"\nRequires-Python: >=(\d+)\.(\d+)", (source / "PKG-INFO").read_text())
    return needed is not None and sys.version_info >= (int(needed[1]), int(needed[2]))


@pytest.mark.slow
@pytest.mark.parametrize("source", sources(), ids=lambda path: path.name)
def test_its_tests_pass(source: Path) -> None:
    path = os.pathsep.join(map(str, (source, source / "tests", ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "tests.integrations.apps.django_own_suite"],
        env=os.environ | {"PYTHONPATH": path},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    told = json.loads(done.stdout)
    assert f"django-{told['version']}" == source.name
    assert told["run"] >= 77
    assert set(told["failed"]) == EXCEPTIONS, done.stderr
