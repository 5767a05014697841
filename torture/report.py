"""The counts of a run: as lines, as a file, and as the table in docs/reliability.md."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from torture.scenarios import SCENARIOS
from torture.trial import Trial

ROOT = Path(__file__).parent.parent
RECORD = Path(__file__).parent / "last_whole_run.json"
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- counts: written by make torture RECORD=1 -->\n", "<!-- end of counts -->\n"
_LOGS = {"sqlite": "SQLite", "file": "files", "postgresql": "PostgreSQL"}


class Report:
    """What a run tried."""

    def __init__(self, seconds: float, seed: int) -> None:
        self.seconds = seconds
        self.seed = seed
        self.failures: Counter[str] = Counter()
        self._trials: Counter[str] = Counter()
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._notes: dict[str, dict[str, str]] = defaultdict(dict)

    def add(self, name: str, trial: Trial, fault: str) -> None:
        """One more trial."""
        self._trials[name] += 1
        self._counts[name] += trial.counts
        self._notes[name] |= trial.notes
        self.failures[name] += bool(fault)

    def line(self, name: str) -> str:
        """A scenario on one line."""
        failed = f"; {self.failures[name]} FAILED" if self.failures[name] else ""
        said = _said(self._counts[name], self._notes[name])
        return f"{name}: {self._trials[name]:,} trials: {said}{failed}"

    def summary(self) -> str:
        """All scenarios, a line each, and the outcome."""
        lines = [self.line(name) for name in self._trials]
        failed = self.failures.total()
        outcome = _failed(failed) if failed else "every promise was kept"
        return "\n".join(["", *lines, outcome])

    def record(self) -> None:
        """Write the counts with date and commit, and the table of the page."""
        content = {
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "commit": _git("rev-parse", "HEAD"),
            "changed": _git("status", "--porcelain", "--untracked-files=no") != "",
            "seconds": self.seconds,
            "seed": self.seed,
            "failures": self.failures.total(),
            "scenarios": {
                name: {
                    "trials": self._trials[name],
                    "failed": self.failures[name],
                    "counts": dict(self._counts[name]),
                    "notes": self._notes[name],
                }
                for name in self._trials
            },
        }
        RECORD.write_text(json.dumps(content, indent=2) + "\n")
        write_page(content)


def write_page(record: dict[str, Any]) -> None:
    """Put the table of a recorded run into the page."""
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table(record) + END + rest.partition(END)[2])


def table(record: dict[str, Any]) -> str:
    """The recorded run as a part of the page."""
    changed = " with changes" if record["changed"] else ""
    ran = (
        f"\nRun on {record['date'][:10]} at commit `{record['commit'][:8]}`{changed}, for "
        f"{record['seconds']:,.0f} seconds with seed {record['seed']}. "
        f"{_failed(record['failures'])}.\n"
    )
    lines = [
        ran,
        "| Scenario | Log | Trials | Failed | What was done |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, one in record["scenarios"].items():
        scenario, _, log = name.partition(".")
        cells = [f"`{scenario}`", _LOGS[log], f"{one['trials']:,}", f"{one['failed']}"]
        lines.append(f"| {' | '.join([*cells, _said(one['counts'], one['notes'], '. ')])} |")
    added = ", ".join(f"`{name}`" for name in SCENARIOS if name not in record["scenarios"])
    if added:
        lines.append(f"\nAdded since, and not in that run: {added}.")
    return "\n".join(lines) + "\n\n"


def _said(counts: dict[str, int], notes: dict[str, str], between: str = ", ") -> str:
    counted = [f"{count:,} {what}" for what, count in counts.items() if count]
    return between.join(counted + [f"{what}: {said}" for what, said in notes.items()])


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()


def _failed(trials: int) -> str:
    return "1 trial failed" if trials == 1 else f"{trials or 'No'} trials failed"
