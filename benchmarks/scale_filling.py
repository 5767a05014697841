"""A process that fills a ledger, and perhaps a bare table with the same sessions.

python -m benchmarks.scale_filling URL SESSIONS [PATH]
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from benchmarks.bare import BareTable
from benchmarks.filling import fill

if __name__ == "__main__":
    url, count, *path = sys.argv[1:]
    tables = [BareTable(Path(name)) for name in path]
    for table in tables:
        table.connection.execute("PRAGMA synchronous = normal")
    asyncio.run(fill(url, int(count), [table.fill for table in tables]))
    for table in tables:
        table.connection.close()
