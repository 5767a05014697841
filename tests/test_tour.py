"""`make tour` shows what is promised, from any folder, and leaves nothing behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TOUR = Path(__file__).parents[1] / "examples" / "tour.py"


@pytest.mark.middle
def test_the_tour_keeps_its_promises(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(TOUR)],
        cwd=tmp_path,
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "✓ refused at the very next read" in done.stdout
    assert "0 of them are lost" in done.stdout
    assert "✓ verify names the event: 1" in done.stdout
    assert list(tmp_path.iterdir()) == []
