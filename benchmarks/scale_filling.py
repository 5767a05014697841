"""A process that fills a ledger and a bare table: python -m benchmarks.scale_filling URL PATH N."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from benchmarks.bare import BareTable
from benchmarks.filling import fill

if __name__ == "__main__":
    url, path, count = sys.argv[1:]
    bare = BareTable(Path(path))
    bare.connection.execute("PRAGMA synchronous = normal")
    asyncio.run(fill(url, int(count), [bare.fill]))
    bare.connection.close()
