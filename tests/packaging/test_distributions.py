"""What `python -m build` makes can be uploaded, read on a package index, installed and used."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest

from tests.packaging.interpreters import ROOT

pytestmark = pytest.mark.middle

LINK = re.compile(r"\]\(([^)]+)\)")
NAMED = re.compile(r"\(`([\w./-]+)`\)")


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> str:
    """What a command prints, which has to succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ran = subprocess.run(
        command, cwd=cwd, env=environment | variables, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an sdist, and of a wheel that is built from that sdist."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def sdist_names(built: Path) -> set[str]:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {name.partition("/")[2] for name in archive.getnames()}


@pytest.fixture(scope="module")
def description(wheel: Path) -> str:
    """The page of the package on an index."""
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = [name for name in archive.namelist() if name.endswith("/METADATA")]
        message = message_from_bytes(archive.read(metadata))
    assert message["Description-Content-Type"] == "text/markdown"
    page = message.get_payload()
    assert isinstance(page, str)
    return page


def test_an_index_accepts_both(built: Path) -> None:
    files = sorted(built.iterdir())
    assert [file.suffix for file in files] == [".whl", ".gz"]
    run(sys.executable, "-m", "twine", "check", "--strict", *files)


def test_the_wheel_holds_the_typed_package_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    source = ROOT / "src"
    files = [path for path in source.rglob("*.*") if "__pycache__" not in path.parts]
    assert names == {str(path.relative_to(source)) for path in files}
    assert "sessionledger/py.typed" in names


def test_the_sdist_holds_what_make_and_the_tests_need(sdist_names: set[str]) -> None:
    needed = {"Makefile", "pyproject.toml", "constraints.txt", "LICENSE", "tests/conftest.py"}
    assert needed <= sdist_names
    folders = {name.partition("/")[0] for name in sdist_names if "/" in name}
    assert folders == {"benchmarks", "deploy", "docs", "examples", "src", "tests", "torture"}
    assert not [name for name in sdist_names if "__pycache__" in name]


def test_the_page_on_an_index_has_no_link_that_leads_nowhere(description: str) -> None:
    links = LINK.findall(description)
    assert not [link for link in links if not link.startswith(("https://", "#"))]


def test_the_page_on_an_index_names_files_of_the_sdist(
    description: str, sdist_names: set[str]
) -> None:
    named = set(NAMED.findall(description))
    assert "docs/sessions.md" in named
    assert named <= sdist_names


def test_the_wheel_alone_works_in_a_fresh_environment(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "fresh")
    programs = tmp_path / "fresh" / "bin"
    python, limits = str(programs / "python"), str(ROOT / "constraints.txt")
    install = [python, "-m", "pip", "install", "-q", "-c", limits]
    run(*install, wheel, cwd=tmp_path)
    listed = run(python, "-m", "pip", "freeze", cwd=tmp_path).splitlines()
    assert {line.partition("=")[0].partition(" ")[0] for line in listed} == {
        "apsw", "msgspec", "sessionledger",
    }  # fmt: skip
    quickstart = (ROOT / "examples" / "quickstart.py").read_text()
    (tmp_path / "quickstart.py").write_text(quickstart)
    assert run(python, "-W", "error", "quickstart.py", cwd=tmp_path)

    run(*install, f"sessionledger[cli] @ {wheel.as_uri()}", cwd=tmp_path)
    command, url = programs / "sessionledger", "sqlite:///fresh.db"
    token = run(command, "create", "alice", cwd=tmp_path, SESSIONLEDGER_URL=url).strip()
    answer = run(
        command, "get", "--json", cwd=tmp_path, SESSIONLEDGER_URL=url, SESSIONLEDGER_TOKEN=token
    )
    assert '"principal":"alice"' in answer
