"""A process that reads: python -m benchmarks.scale_reader URL SESSIONS READS, answered as JSON.

It imports no more than an application would, and holds no tokens.
"""

# ruff: noqa: E402  the import is what is measured first

import time

start = time.perf_counter()
from sessionledger import SessionStore

imported = time.perf_counter()

import json
import random
import sys
from pathlib import Path


def token(number: int) -> str:
    return f"harn_sess_{number:043d}"


def megabytes(kind: str) -> float:
    """Pages that only this process has: `Dirty` it wrote to; `Clean` ones are of mapped files, and
    the kernel can take them back at any time."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"Private_{kind}:")) / 1024


if __name__ == "__main__":
    url, count, reads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    before = megabytes("Dirty")
    opening = time.perf_counter()
    with SessionStore.open(url) as store:
        assert store.get(token(random.randrange(count))) is not None
        answered = time.perf_counter()
        for _ in range(reads - 1):
            assert store.get(token(random.randrange(count))) is not None
        told = {
            "importing": (imported - start) * 1e3,
            "opening": (answered - opening) * 1e3,
            "memory_before": before,
            "memory": megabytes("Dirty"),
            "mapped": megabytes("Clean"),
        }
    print(json.dumps(told))
