"""A process that writes when it is told: python -m benchmarks.committing URL.

It reads numbers of sessions, a line each, and answers a line once that session was changed.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.filling import token
from sessionledger import SessionStore


@contextmanager
def another_process(url: str) -> Iterator[Callable[[int], None]]:
    """How to have a session changed by another process that has the ledger open."""
    command = [sys.executable, "-m", "benchmarks.committing", url]
    folder, pipe = Path(__file__).parent.parent, subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder) as process:

        def change(number: int) -> None:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{number}\n")
            process.stdin.flush()
            assert process.stdout.readline() == "done\n"

        try:
            yield change
        finally:
            process.kill()


def _serve(url: str) -> None:
    with SessionStore.open(url, durability="normal") as store:
        for count, line in enumerate(sys.stdin):
            assert store.patch(token(int(line)), {"changed": count}) is not None
            print("done", flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
