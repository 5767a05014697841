"""`make torture`: run scenarios for a time, print counts, tell how to repeat a failure."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from pathlib import Path

from torture import shim
from torture.processes import within
from torture.report import Report
from torture.scenarios import SCENARIOS, WITH_SHIM
from torture.trial import Broken, Trial

MOST_FAULTS = 3
"""A scenario that failed so often is not tried again."""
LONGEST = 300
"""Seconds after which a trial counts as hung."""


def main() -> int:
    arguments = _arguments()
    names = [name for name in SCENARIOS if _is_chosen(name, arguments.only)]
    if not names:
        print(f"no scenario is named {arguments.only}; there are: {', '.join(SCENARIOS)}")
        return 2
    if any(name.partition(".")[0] in WITH_SHIM for name in names):
        shim.load()
    print(f"torture: {arguments.seconds} s, seed {arguments.seed}, {', '.join(names)}", flush=True)
    report = run(names, arguments.seconds, arguments.seed, arguments.trials)
    print(report.summary())
    if arguments.record:
        report.record()
    return 1 if report.failures.total() else 0


def run(names: list[str], seconds: float, seed: int, most: int | None) -> Report:
    """Every scenario once, and then those that took the least time so far; each `most` times."""
    report = Report(seconds, seed)
    taken: dict[str, float] = defaultdict(float)
    trials: Counter[str] = Counter()
    begun = time.monotonic()
    while True:
        going_on = [name for name in names if report.failures[name] < MOST_FAULTS]
        name = min(going_on or names, key=lambda name: taken[name])
        late = time.monotonic() - begun >= seconds
        if not going_on or (trials[name] and (late or trials[name] == most)):
            return report
        started = time.monotonic()
        fault = tried(name, seed + trials[name], seconds, report)
        trials[name] += 1
        taken[name] += time.monotonic() - started
        if fault:
            print(f"FAULT in {name}:{fault}")
            again = f"SEED={seed + trials[name] - 1} SECONDS={seconds:g} TRIALS=1"
            print(f"  repeat it: make torture ONLY={name} {again}")
        print(f"{time.monotonic() - begun:6.0f} s  {report.line(name)}", flush=True)


def tried(name: str, seed: int, seconds: float, report: Report) -> str:
    """Run one trial; what went wrong, or nothing. The folder of a failed trial stays."""
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    trial = Trial(seed, folder, seconds)
    fault = ""
    within(LONGEST)
    try:
        SCENARIOS[name](trial)
    except (Broken, TimeoutError) as broken:
        fault = f"{broken}\n  its files are in {folder}"
    except Exception:
        fault = f" it stopped:\n{traceback.format_exc()}\n  its files are in {folder}"
    finally:
        within(0)
    report.add(name, trial, fault)
    if not fault:
        shutil.rmtree(folder, ignore_errors=True)  # a shell of a killed process may still write
    return fault


def _is_chosen(name: str, only: str) -> bool:
    return not only or any(part == name or part in name.split(".") for part in only.split(","))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m torture", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--only", default="", help="scenarios or logs, separated by commas")
    parser.add_argument("--trials", type=int, help="of each scenario, at most")
    parser.add_argument("--record", action="store_true", help="write the counts down")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
