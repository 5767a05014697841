"""make operations: count what calls cost, say what changed, and write the page."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.peers.servers import STARTERS

from tests.operations.counts import PAGE, Table, counts, differences, merged, page_of, pinned


def counted(folder: Path) -> Table:
    """Every count, with a PostgreSQL server in a folder."""
    at = folder / "server"
    at.mkdir()
    with STARTERS["postgres"](at, Path(sys.prefix)) as place:
        return counts(str(place["postgres_uri"]))


def main() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        table = counted(Path(folder))
    print("\n".join(differences(pinned(), table)) or "no count changed")
    PAGE.write_text(page_of(merged(pinned(), table)))


if __name__ == "__main__":
    main()
