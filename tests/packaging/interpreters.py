"""make test-pythons: run the fast tests on every CPython that is found, and record which passed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RECORD = Path(__file__).parent / "interpreters.json"
VERSIONS = ("3.11", "3.12", "3.13", "3.14")
KEPT = ("python", "date", "tier", "passed", "skipped")

Run = dict[str, str | int]


def recorded() -> dict[str, Run]:
    """The last run on each version, if it passed."""
    runs: dict[str, Run] = json.loads(RECORD.read_text())
    return runs


def found(version: str) -> str | None:
    """An interpreter of that version that starts: on the path, or one that pyenv keeps."""
    kept = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    candidates = [f"python{version}", *map(str, sorted(kept.glob(f"{version}.*/bin/python")))]
    for candidate in filter(shutil.which, candidates):
        if subprocess.run([candidate, "-c", ""], capture_output=True).returncode == 0:
            return candidate
    return None


def run(version: str, python: str) -> Run | None:
    """Run the fast tests in an environment for that interpreter; None if one failed."""
    venv = f".venv-{version}"
    make = ["make", f"{venv}/.ready", f"PYTHON={python}", f"VENV={venv}"]
    subprocess.run(make, cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [f"{venv}/bin/python", "-m", "pytest", "-n", "auto", "--dist", "loadfile"]
        command += ["--tier=fast", "--record", str(report)]
        # The tests of the metadata look at the record that these runs are for.
        command.append("--ignore=tests/packaging/test_metadata.py")
        if subprocess.run(command, cwd=ROOT).returncode != 0:
            return None
        told = json.loads(report.read_text())
    return {name: told[name] for name in KEPT}


def main() -> int:
    """Run them one after the other; a version that fails leaves the record."""
    runs, failed = recorded(), []
    for version in sys.argv[1:] or VERSIONS:
        python = found(version)
        if python is None:
            print(f"Python {version} is not found: its last record stays")
            continue
        runs.pop(version, None)
        if ran := run(version, python):
            runs[version] = ran
        else:
            failed.append(version)
    ordered = {version: runs[version] for version in VERSIONS if version in runs}
    RECORD.write_text(json.dumps(ordered, indent=2) + "\n")
    print(f"failed on: {', '.join(failed) or 'none'}")
    return len(failed)


if __name__ == "__main__":
    sys.exit(main())
