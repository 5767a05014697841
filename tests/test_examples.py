"""Every example runs by itself, ends well and has something to say."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "examples"
# The tour is run by the tests of the command line, which it is a tour of.
EXAMPLES = sorted(path for path in FOLDER.glob("*.py") if path.name != "tour.py")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_the_example_runs(example: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", str(example)]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout
    assert not list(tmp_path.iterdir()), "an example leaves nothing behind"
