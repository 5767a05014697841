"""A small ledger of every schema that landed, written by the code of its time.

`python -m tests.ledgers NAME COMMIT` makes one and records what its sessions are. Do that once for
each new schema, at the last commit before the schema changes again, and commit the files. A name
that ends in `-compacted` makes one that was compacted.
"""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "data" / "ledgers"
UNTIL = datetime(2099, 1, 1, tzinfo=UTC)
TOKENS = [f"a-token-of-an-old-ledger-number-{number}" for number in range(6)]
SIGNED_OUT = 3
SCHEMA_OF_DUMPS = "dumped"


def sources_of(commit: str, folder: Path) -> Path:
    """The sources of a commit, unpacked into a folder."""
    root = Path(__file__).parents[2]
    archive = subprocess.run(
        ["git", "-C", root, "archive", commit, "src"], capture_output=True, check=True
    )
    subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
    return folder / "src"
