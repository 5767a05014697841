"""`python -m tests.parity FOLDER`: replay a folder of parity data; `make parity` does.

Prints a line for everything that differs and for everything left out, and how many passed. Exits
with 1 when something differs, and with 2 when the folder is not parity data.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tests.parity.check import omissions, replays
from tests.parity.recorded import NotParityData, read_recording


def main(arguments: Sequence[str]) -> int:
    """Replay the one folder that is named; the exit code."""
    if len(arguments) != 1:
        print("usage: python -m tests.parity FOLDER", file=sys.stderr)
        return 2
    try:
        return _replay(Path(arguments[0]))
    except NotParityData as error:
        print(f"parity: {error}", file=sys.stderr)
        return 2


def _replay(folder: Path) -> int:
    recording = read_recording(folder)
    for line in omissions(recording):
        print(line)
    passed = failed = 0
    for outcome in replays(recording):
        if outcome.problem is None:
            passed += 1
        else:
            failed += 1
            print(outcome)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
