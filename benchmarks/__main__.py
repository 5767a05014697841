"""make bench: run every comparison, print the ratios beside their goals, write JSON."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.operations.__main__ import counted
from tests.operations.counts import differences, page_of, pinned

from benchmarks import (
    administering,
    bounded,
    caching,
    creating,
    ending,
    growing,
    integrations,
    listing,
    many,
    reading,
    remote,
    scale,
    scale_file,
    serving,
    staleness,
    starting,
    sweeping,
)
from benchmarks.filling import EACH
from benchmarks.peers import pages
from benchmarks.peers.comparison import compare
from benchmarks.peers.outcome import Compared
from benchmarks.report import Section, merge, section

RESULTS = Path(__file__).parent.parent / "docs" / "benchmarks" / "results.json"


def _get(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    for count in arguments.sessions:
        timings = reading.reading(folder, count, arguments.rounds)
        yield section(f"get-{count}", f"get, {count:,} live sessions", timings, reading.GOALS)


def _cached(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    for count in arguments.cached:
        timings, figures = caching.caching(folder, count, arguments.rounds)
        title = f"get of {caching.ACTIVE:,} active sessions, {count:,} live"
        yield section(f"cached-{count}", title, timings, caching.GOALS, figures, caching.LIMITS)


def _create(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings = creating.creating(folder, arguments.rounds)
    yield section("create", "durable create", timings, creating.GOALS)


def _administer(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings = administering.administering(folder, arguments.rounds)
    title = f"administering {administering.SESSIONS:,} sessions, {EACH} a principal"
    yield section("administer", title, timings, administering.GOALS)


def _sweep(folder: Path, _: argparse.Namespace) -> Iterator[Section]:
    figures = sweeping.sweeping(folder)
    title = f"sweeping {sweeping.SESSIONS:,} lapsed sessions"
    yield section("sweep", title, {}, (), figures, sweeping.LIMITS)


def _bounded(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    folder.chmod(0o711)  # PostgreSQL may run as another user, and has to come through
    for backend in arguments.logs:
        sessions = bounded.SESSIONS[backend]
        with tempfile.TemporaryDirectory(dir=folder) as at:
            found = bounded.bounded(Path(at), backend, arguments.rounds)
        if found is not None:
            title = f"30 days of {sessions:,} sessions, compacted to 7 days, {backend}"
            timings, figures, limits = found
            goals = bounded.GOALS if timings else ()
            yield section(f"bounded-{backend}", title, timings, goals, figures, limits)


def _end(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    for backend in ("sqlite", "file"):
        timings = ending.ending(folder, backend, min(arguments.rounds, 5))
        title = f"ending families, {backend}"
        yield section(f"end-{backend}", title, timings, ending.GOALS)


def _start(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings, figures = starting.starting(folder, arguments.rounds)
    title = "starting a process"
    yield section("start", title, timings, starting.GOALS, figures, starting.LIMITS)


def _serve(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings, figures = serving.serving(folder, min(arguments.rounds, 7))
    title = f"serving with one worker, {serving.CONNECTIONS} connections"
    yield section("serve", title, timings, serving.GOALS, figures)


def _integrations(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings = integrations.integrations(folder, min(arguments.rounds, 5))
    title = "sessions of web frameworks, one worker, 1 and 16 connections"
    yield section("integrations", title, timings, [*integrations.goals()])


def _postgresql(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings = remote.remote(folder, arguments.rounds)
    title = f"PostgreSQL, {remote.SESSIONS:,} live sessions"
    yield section("postgresql", title, timings, remote.GOALS)


def _staleness(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings = staleness.staleness(folder, arguments.rounds)
    title = f"PostgreSQL with max_staleness, {staleness.SESSIONS:,} live sessions"
    yield section("staleness", title, timings, staleness.GOALS)


def _operations(folder: Path, _: argparse.Namespace) -> Iterator[Section]:
    """They are kept on a page of their own, which `make operations` writes."""
    table = counted(folder)
    page = page_of(table)
    print(page, *differences(pinned(), table), sep="\n")
    yield from ()


def _scale(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings, figures = scale.scaling(folder, arguments.million, arguments.rounds)
    title = f"scale, {arguments.million:,} live sessions in SQLite"
    yield section("scale-sqlite", title, timings, scale.GOALS, figures, scale.LIMITS)


def _scale_file(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings, figures = scale_file.scaling(folder, arguments.million, arguments.rounds)
    title = f"scale, {arguments.million:,} events in the file log"
    yield section("scale-file", title, timings, scale_file.GOALS, figures)


def _grow(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    timings, figures = growing.growing(folder, arguments.grown, arguments.rounds)
    title = f"growing to {arguments.grown:,} live sessions in SQLite"
    yield section("grow", title, timings, growing.GOALS, figures)


def _many(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    sessions, minutes = arguments.million, arguments.minutes
    figures = many.many(folder, sessions, minutes)
    title = f"{sessions:,} live sessions in PostgreSQL, touched for {minutes:g} minutes"
    yield section("many", title, {}, (), figures, many.LIMITS)


def _listing(folder: Path, arguments: argparse.Namespace) -> Iterator[Section]:
    figures, limits = listing.listing(folder, arguments.million)
    title = f"pages of 50 of {arguments.million:,} sessions, half of them ended, newest first"
    yield section("listing", title, {}, (), figures, limits)


def _peers(folder: Path, arguments: argparse.Namespace) -> Iterator[Compared]:
    yield compare(folder, arguments.rounds)


Measuring = Callable[[Path, argparse.Namespace], Iterator[Section | Compared]]
SECTIONS: dict[str, Measuring] = {
    "operations": _operations,
    "get": _get,
    "cached": _cached,
    "create": _create,
    "administer": _administer,
    "sweep": _sweep,
    "end": _end,
    "bounded": _bounded,
    "start": _start,
    "serve": _serve,
    "integrations": _integrations,
    "postgresql": _postgresql,
    "staleness": _staleness,
    "scale": _scale,
    "scale-file": _scale_file,
    "peers": _peers,
    "grow": _grow,
    "many": _many,
    "listing": _listing,
}
RARE = {"grow", "many", "listing"}
"""Run only when they are named."""


def main() -> int:
    arguments = _arguments()
    for name in arguments.sections:
        with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="sessionledger-bench-") as at:
            for measured in SECTIONS[name](Path(at), arguments):
                merge([measured], arguments.output)
    if "peers" in arguments.sections:
        pages.write(arguments.output)
    print(f"\nwritten to {arguments.output}")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    plain = [name for name in SECTIONS if name not in RARE]
    parser.add_argument("--sections", nargs="+", choices=SECTIONS, default=plain)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1_000, 100_000])
    parser.add_argument("--cached", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--million", type=int, default=1_000_000, help="sessions of scale and many")
    parser.add_argument("--minutes", type=float, default=20, help="how long many touches")
    parser.add_argument("--grown", type=int, default=10_000_000, help="sessions of grow")
    logs = list(bounded.SESSIONS)
    parser.add_argument("--logs", nargs="+", choices=logs, default=logs, help="logs of bounded")
    parser.add_argument("--folder", type=Path, default=None, help="on the disk to be measured")
    parser.add_argument("--output", type=Path, default=RESULTS)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
