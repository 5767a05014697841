"""What pyproject.toml and its neighbours claim is so."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging import extras, wheels
from tests.packaging.interpreters import PROJECT, ROOT, recorded

PYTHON = "Programming Language :: Python :: "


def test_no_address_is_invented() -> None:
    """The repository has no public address yet: the day it gets one, it belongs here."""
    assert "urls" not in PROJECT


def test_the_classifiers_name_the_pythons_that_the_tests_ran_on() -> None:
    claimed = [c.removeprefix(PYTHON) for c in PROJECT["classifiers"] if c.startswith(PYTHON)]
    assert claimed == [*recorded()]
    assert PROJECT["requires-python"] == f">={claimed[0]}"


def test_wheels_of_the_dependencies_are_recorded_for_every_python_that_is_claimed() -> None:
    record = json.loads(wheels.RECORD.read_text())["wheels"]
    assert [*record] == [*recorded()]
    names = [re.split(r"\W", dependency)[0] for dependency in PROJECT["dependencies"]]
    for version, platforms in record.items():
        assert [*platforms] == [*wheels.PLATFORMS]
        for files in platforms.values():
            assert [file.partition("-")[0] for file in files] == sorted(names)
            assert all(f"-cp{version.replace('.', '')}-" in file for file in files)


@pytest.mark.slow
@pytest.mark.parametrize("version", recorded())
def test_dependencies_have_wheels_on_every_platform(version: str) -> None:
    assert [*wheels.found(version)] == [*wheels.PLATFORMS]  # pip fails where one is missing


def test_the_page_tells_what_was_measured_of_each_extra() -> None:
    record = json.loads(extras.RECORD.read_text())
    sizes = {name: str(one["megabytes"]) for name, one in record.items()}
    page = (ROOT / "docs" / "platforms.md").read_text()
    assert dict(re.findall(r"^\| `(\w+)` \| .* \| ([\d.]+) \|$", page, re.MULTILINE)) == {
        name: size for name, size in sizes.items() if name != "base"
    }
    assert [*sizes] == ["base", *extras.EXTRAS]
    assert f"alone takes {sizes['base']} MB with its two packages, apsw and msgspec" in page
    assert {*record["base"]["packages"]} == {"apsw", "msgspec", "sessionledger"}


WITHOUT_FAKER = """
import asyncio, sys
sys.modules |= {"faker": None, "polyfactory": None}
import httpx
from sessionledger.server import Settings, create_app

async def main():
    app = create_app(Settings(ledger="memory:"))
    async with app.running(), httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        for path in ("/readyz", "/openapi.json", "/v1/session"):
            print((await client.get(path)).status_code)

asyncio.run(main())
"""


def test_the_service_does_without_the_packages_that_only_its_framework_requires() -> None:
    command = [sys.executable, "-c", WITHOUT_FAKER]
    assert subprocess.check_output(command, text=True).split() == ["200", "200", "401"]


def test_make_run_installs_what_it_needs_and_no_more() -> None:
    commands = subprocess.check_output(
        ["make", "--dry-run", "--always-make", "run"], cwd=ROOT, text=True
    )
    assert re.findall(r"-m venv (\S+)", commands) == [".venv-run"]
    assert re.findall(r"-e '?(\S+?)'?$", commands, re.MULTILINE) == [".[cli,server]"]


def test_security_reports_go_to_no_invented_address() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    assert not re.search(r"https?://|\w@\w", page)


def test_contributing_names_what_there_is() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text()
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {*re.findall(r"^make ([\w-]+)", page, re.MULTILINE)} <= {*targets}
    for name in re.findall(r"`([\w/.-]+/[\w/.-]+|\w+\.py)`", page):
        places = (ROOT / name, ROOT / "src" / "sessionledger" / name)
        assert any(place.exists() for place in places) or name == "docs/NAME.md", name


@pytest.mark.middle
def test_pre_commit_runs_what_make_lint_runs(tmp_path: Path) -> None:
    environment = os.environ | {"PRE_COMMIT_HOME": str(tmp_path), "VENV": sys.prefix}

    def output(*command: str) -> str:
        return subprocess.check_output(command, cwd=ROOT, env=environment, text=True)

    hooks = output(sys.executable, "-m", "pre_commit", "run", "--all-files", "--verbose")
    checks = output("make", "--dry-run", "lint").splitlines()
    assert len(checks) > 2
    assert all(f"{check}\n" in hooks for check in checks)
