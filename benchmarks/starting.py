"""How soon a process that was just started answers: importing, and `get` on the command line.

Installing a package compiles it, and so every process here finds bytecode, also where the
environment forbids to write any: otherwise most of what is measured would be the compiler.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.rounds import Figure, Goal, Limit, Timing, measure
from sessionledger import SessionStore

IMPORTS = 15
UNCOMPILED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")

PASS, GET = "python -c pass", "sessionledger get"
GOALS = (Goal(GET, PASS, 4),)

IMPORT = "from sessionledger import SessionStore"
LIMITS = (Limit(IMPORT, 60),)

# What a package of ours does not ask for is not there where nothing else is installed; where it
# is, what we rest on looks into it at some length.
_ALONE = "import sys; sys.modules['typing_extensions'] = None\n"
_TIMED = """
import time
begun = time.perf_counter()
from sessionledger import SessionStore
print((time.perf_counter() - begun) * 1000)
"""


def starting(folder: Path, rounds: int) -> tuple[dict[str, Timing], list[Figure]]:
    """Microseconds of whole processes, and milliseconds of importing within one."""
    url = f"sqlite:///{folder / 'start.db'}"
    with SessionStore.open(url) as store:
        token = store.create("alice").token
    variables = _compiled() | {"SESSIONLEDGER_TOKEN": token, "SESSIONLEDGER_URL": url}
    command = str(Path(sys.executable).with_name("sessionledger"))
    contenders: dict[str, Callable[[], int]] = {
        PASS: lambda: _run([sys.executable, "-c", "pass"], variables),
        GET: lambda: _run([command, "get"], variables),
    }
    timings = measure(contenders, rounds)
    return timings, [
        Figure(IMPORT, _importing(_ALONE + _TIMED), "ms"),
        Figure("with typing_extensions installed", _importing(_TIMED), "ms"),
    ]


def _compiled() -> dict[str, str]:
    """The environment of a process that finds what it imports compiled, or compiles it once."""
    return {name: value for name, value in os.environ.items() if name not in UNCOMPILED}


def _run(command: list[str], variables: dict[str, str]) -> int:
    subprocess.run(command, env=variables, stdout=subprocess.DEVNULL, check=True)
    return 1


def _importing(program: str) -> float:
    command = [sys.executable, "-c", program]
    runs = [
        subprocess.run(command, env=_compiled(), capture_output=True, check=True)
        for _ in range(1 + IMPORTS)
    ]
    return statistics.median(float(run.stdout) for run in runs[1:])
