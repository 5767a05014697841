"""make bench: run every comparison, print the ratios beside their goals, write JSON."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import apsw
import msgspec

from benchmarks import creating, reading
from benchmarks.rounds import Goal, Timing, Verdict, judge

RESULTS = Path(__file__).parent.parent / "docs" / "benchmarks" / "results.json"


class Machine(msgspec.Struct, frozen=True):
    """Where it ran."""

    processor: str
    cores: int | None
    system: str
    python: str
    sqlite: str
    sessionledger: str


class Section(msgspec.Struct, frozen=True):
    """One comparison: the timings and what became of its goals."""

    title: str
    timings: dict[str, Timing]
    verdicts: list[Verdict]
    not_run: list[str]


class Report(msgspec.Struct, frozen=True):
    """A whole run."""

    machine: Machine
    measured_at: str
    sections: list[Section]


def main() -> int:
    arguments = _arguments()
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="sessionledger-bench-") as name:
        folder = Path(name)
        sections = [
            _section(
                f"get, {count:,} live sessions",
                reading.reading(folder, count, arguments.rounds),
                reading.GOALS,
            )
            for count in arguments.sessions
        ]
        sections.append(
            _section("durable create", creating.creating(folder, arguments.rounds), creating.GOALS)
        )
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    report = Report(_machine(), stamp, sections)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    print(f"\nwritten to {arguments.output}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


def _section(title: str, timings: Mapping[str, Timing], goals: Sequence[Goal]) -> Section:
    verdicts = [judge(timings, goal) for goal in goals]
    section = Section(
        title,
        dict(timings),
        [verdict for verdict in verdicts if verdict is not None],
        [goal.baseline for goal, verdict in zip(goals, verdicts, strict=True) if verdict is None],
    )
    _print(section)
    return section


def _print(section: Section) -> None:
    print(f"\n{section.title}\n{'':34}{'median µs':>12}{'best µs':>12}")
    for name, timing in section.timings.items():
        print(f"  {name:32}{timing.median:12.2f}{timing.best:12.2f}")
    for verdict in section.verdicts:
        goal = verdict.goal
        bound = f"{'at least' if goal.at_least else 'at most'} {goal.bound}"
        outcome = "met" if verdict.met else "MISSED"
        print(f"  {goal.contender} : {goal.baseline} = {verdict.ratio:.2f}  ({bound}: {outcome})")
    for name in section.not_run:
        print(f"  not run, because it is not installed: {name}")
    sys.stdout.flush()


def _machine() -> Machine:
    from sessionledger import __version__

    return Machine(
        processor=_processor(),
        cores=os.cpu_count(),
        system=f"{platform.system()} {platform.release()}",
        python=platform.python_version(),
        sqlite=apsw.sqlite_lib_version(),
        sessionledger=__version__,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
