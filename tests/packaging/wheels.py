"""make test-pythons: record which wheels of the base dependencies `pip download` finds."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.packaging.interpreters import PROJECT, VERSIONS

RECORD = Path(__file__).parent / "wheels.json"

PLATFORMS = {
    f"{system}, {machine}": [f"{tag}_{machine}" for tag in tags]
    for system, machines, tags in (
        ("glibc", ("x86_64", "aarch64"), ("manylinux_2_28", "manylinux2014")),
        ("musl", ("x86_64", "aarch64"), ("musllinux_1_2",)),
        ("macOS", ("x86_64", "arm64"), ("macosx_11_0",)),
    )
    for machine in machines
}


def download(version: str, platform: str, folder: Path) -> list[str]:
    """The wheels of the base dependencies for that Python on that platform."""
    command = [sys.executable, "-m", "pip", "download", "-q", "--only-binary=:all:"]
    command += [f"--platform={tag}" for tag in PLATFORMS[platform]]
    command += [f"--python-version={version}", "--dest", str(folder), *PROJECT["dependencies"]]
    subprocess.run(command, check=True)
    return sorted(path.name for path in folder.iterdir())


def found(version: str) -> dict[str, list[str]]:
    """The wheels for that Python, by platform."""
    wheels = {}
    for platform in PLATFORMS:
        with tempfile.TemporaryDirectory() as folder:
            wheels[platform] = download(version, platform, Path(folder))
    return wheels


if __name__ == "__main__":
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    record = {"date": date, "wheels": {version: found(version) for version in VERSIONS}}
    RECORD.write_text(json.dumps(record, indent=2) + "\n")
