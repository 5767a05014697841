"""What an import says where the package cannot run."""

import subprocess
import sys

import pytest

WITHOUT_FCNTL = "import sys; sys.modules['fcntl'] = None; "


@pytest.mark.parametrize("module", ["sessionledger", "sessionledger.integrations.flask"])
def test_an_import_without_fcntl_says_that_posix_is_needed(module: str) -> None:
    command = [sys.executable, "-c", f"{WITHOUT_FCNTL} import {module}"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1] == (
        "ImportError: sessionledger needs a POSIX system such as Linux or macOS: this Python has "
        "no module `fcntl`. On Windows, use it inside WSL."
    )


def test_the_command_line_says_so_too() -> None:
    start = f"{WITHOUT_FCNTL} from sessionledger.cli.main import run; run()"
    ran = subprocess.run([sys.executable, "-c", start], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 1
    assert "needs a POSIX system" in ran.stderr
