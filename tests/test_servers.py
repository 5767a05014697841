"""What happens where a server is missing, and when it starts and ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sessionledger.testing.fixtures import until
from tests import servers

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("variable", ["CI", servers.REQUIRED])
def test_a_missing_program_fails_the_test_in_ci(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "true")
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(pytest.fail.Exception, match="apt-get install nginx-light"):
        servers.program("nginx")


def test_a_missing_program_skips_the_test_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CI", servers.REQUIRED):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    with pytest.raises(pytest.skip.Exception, match="apt-get install jq"):
        servers.program("jq")


def test_a_server_is_started_once() -> None:
    asked: list[int] = []
    answers = [servers.once("asked", lambda: asked.append(1) or "here") for _ in range(3)]  # type: ignore[func-returns-value]
    assert (answers, asked) == (["here"] * 3, [1])


def test_a_server_that_does_not_start_says_why() -> None:
    at = servers.run_folder() / "failing"
    at.mkdir()
    with pytest.raises(AssertionError, match="no such port"):
        servers.serve(at, ["sh", "-c", "echo no such port; exit 1"], ready="ready")


STARTING = """
from tests.servers import run_folder, serve
at = run_folder() / "outliving"
at.mkdir()
serve(at, ["sh", "-c", "echo ready; exec sleep 600"], ready="ready")
"""


def test_a_worker_may_end_before_the_server_that_it_started() -> None:
    command = [sys.executable, "-W", "always", "-c", STARTING]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stderr == ""


KILLED = """
import os, signal
from pathlib import Path
from tests.servers import run_folder, serve

def test_it() -> None:
    at = run_folder() / "sleeping"
    at.mkdir()
    serve(at, ["sh", "-c", "echo $$ > pid; echo ready; exec sleep 600"], ready="ready")
    Path("pid").write_text((at / "pid").read_text())
    Path("run").symlink_to(run_folder())
    if "STOPPED" in os.environ:
        os.kill(int(Path("pid").read_text()), signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("more", [{}, {"STOPPED": "1"}], ids=["running", "stopped"])
def test_a_server_ends_when_pytest_is_killed(tmp_path: Path, more: dict[str, str]) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -p tests.servers -p no:cacheprovider")
    (tmp_path / "test_killed.py").write_text(KILLED)
    environment = {"PYTHONPATH": str(ROOT), "PATH": os.environ["PATH"], **more}
    command = [sys.executable, "-m", "pytest", "-q"]
    subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    server = int((tmp_path / "pid").read_text())
    until(lambda: not (tmp_path / "run" / "sleeping" / "pid").exists())
    assert not Path(f"/proc/{server}").exists()
    shutil.rmtree((tmp_path / "run").resolve())
