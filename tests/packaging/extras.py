"""make extras: record which packages each extra brings, and how much room they take."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.packaging.interpreters import PROJECT, ROOT

RECORD = Path(__file__).parent / "extras.json"
FOR_DEVELOPERS = ("bench", "dev", "testing")
EXTRAS = [extra for extra in PROJECT["optional-dependencies"] if extra not in FOR_DEVELOPERS]

Measured = tuple[float, set[str]]


def measured(requirement: str) -> Measured:
    """The megabytes that a requirement takes with all that it requires, and their packages."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "install", "-q", "-c", "constraints.txt"]
        subprocess.run([*command, "--target", folder, requirement], cwd=ROOT, check=True)
        kilobytes = int(subprocess.check_output(["du", "-sk", folder]).split()[0])
        packages = {_name(path) for path in Path(folder).glob("*.dist-info")}
    return kilobytes / 1024, packages


def _name(path: Path) -> str:
    return re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower()


def main() -> None:
    """Write down what each extra brings beyond the base, and the base itself."""
    size, packages = measured(".")
    record: dict[str, dict[str, object]] = {
        "base": {"megabytes": round(size, 1), "packages": sorted(packages)}
    }
    for extra in EXTRAS:
        whole, all_packages = measured(f".[{extra}]")
        record[extra] = {
            "megabytes": round(whole - size, 1),
            "packages": sorted(all_packages - packages),
        }
    RECORD.write_text(json.dumps(record, indent=2) + "\n")


if __name__ == "__main__":
    main()
