"""What a run measured: printed, and kept as JSON beside what other sections measured before."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import apsw
import msgspec
from msgspec.structs import replace

from benchmarks.peers.outcome import Compared, show
from benchmarks.rounds import Figure, Goal, Limit, Timing, Verdict, judge
from sessionledger import __version__


class Machine(msgspec.Struct, frozen=True):
    """Where it ran."""

    processor: str
    cores: int | None
    system: str
    python: str
    sqlite: str
    sessionledger: str


class Outcome(msgspec.Struct, frozen=True):
    """A limit and whether the figure keeps it."""

    limit: Limit
    value: float
    met: bool


class Section(msgspec.Struct, frozen=True):
    """One comparison: the timings and figures, and what became of its goals and limits."""

    name: str
    title: str
    measured_at: str
    timings: dict[str, Timing]
    verdicts: list[Verdict]
    not_run: list[str]
    figures: list[Figure] = []
    outcomes: list[Outcome] = []
    machine: Machine | None = None


class Report(msgspec.Struct, frozen=True):
    """The newest outcome of every section. machine: that of the peers."""

    machine: Machine
    sections: list[Section]
    peers: Compared | None = None


def section(
    name: str,
    title: str,
    timings: Mapping[str, Timing],
    goals: Sequence[Goal] = (),
    figures: Sequence[Figure] = (),
    limits: Sequence[Limit] = (),
) -> Section:
    """A section, judged and printed."""
    verdicts = [judge(timings, goal) for goal in goals]
    values = {figure.name: figure.value for figure in figures}
    judged = Section(
        name,
        title,
        time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        dict(timings),
        [verdict for verdict in verdicts if verdict is not None],
        [goal.baseline for goal, verdict in zip(goals, verdicts, strict=True) if verdict is None],
        list(figures),
        [
            Outcome(limit, values[limit.figure], limit.is_met_by(values[limit.figure]))
            for limit in limits
        ],
        this_machine(),
    )
    _print(judged)
    return judged


def merge(measured: Sequence[Section | Compared], path: Path) -> None:
    """Write what was measured into a file. Other sections stay, each with its machine."""
    sections = [one for one in measured if isinstance(one, Section)]
    machine, names = this_machine(), {section.name for section in sections}
    earlier = read(path) or Report(machine, [])
    kept = [
        replace(one, machine=one.machine or earlier.machine)
        for one in earlier.sections
        if one.name not in names
    ]
    compared = [one for one in measured if isinstance(one, Compared)]
    for one in compared:
        show(one)
    peers, of_peers = (compared[-1], machine) if compared else (earlier.peers, earlier.machine)
    report = Report(of_peers if peers else machine, [*kept, *sections], peers)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")


def read(path: Path) -> Report | None:
    """What a file says; None where there is none, or none that is understood."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError):
        return None


def _print(section: Section) -> None:
    print(f"\n{section.title}")
    if section.timings:
        print(f"{'':34}{'median µs':>12}{'best µs':>12}")
    for name, timing in section.timings.items():
        print(f"  {name:32}{timing.median:12.2f}{timing.best:12.2f}")
    for verdict in section.verdicts:
        goal = verdict.goal
        told = f"{goal.contender} : {goal.baseline} = {verdict.ratio:.2f}"
        print(f"  {told}  ({_bound(goal.bound, goal.at_least, verdict.met)})")
    limits = {outcome.limit.figure: outcome for outcome in section.outcomes}
    for figure in section.figures:
        told = f"{figure.name}: {figure.value:,.2f} {figure.unit}"
        kept = limits.get(figure.name)
        bound = kept and _bound(kept.limit.bound, kept.limit.at_least, kept.met)
        print(f"  {told}  ({bound})" if bound else f"  {told}")
    for name in section.not_run:
        print(f"  not run, because it is not installed: {name}")
    sys.stdout.flush()


def _bound(bound: float, at_least: bool, met: bool) -> str:
    return f"{'at least' if at_least else 'at most'} {bound:,}: {'met' if met else 'MISSED'}"


def this_machine() -> Machine:
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
