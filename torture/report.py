"""The counts of a run: as a table, and as a file that docs/reliability.md is checked against."""

from __future__ import annotations

import json
import subprocess
from collections import Counter, defaultdict
from datetime import UTC, datetime
from pathlib import Path

from torture.trial import Trial


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
        counted = ", ".join(
            f"{count:,} {what}" for what, count in self._counts[name].items() if count
        )
        notes = "".join(f"; {what} {said}" for what, said in self._notes[name].items())
        failed = f"; {self.failures[name]} FAILED" if self.failures[name] else ""
        return f"{name}: {self._trials[name]:,} trials, {counted}{notes}{failed}"

    def table(self) -> str:
        """All scenarios, a line each, and the outcome."""
        lines = [self.line(name) for name in self._trials]
        failed = self.failures.total()
        outcome = f"{failed} trials failed" if failed else "every promise was kept"
        return "\n".join(["", *lines, outcome])

    def record(self, path: Path) -> None:
        """Write the counts with date and commit."""
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
                    **self._counts[name],
                    **self._notes[name],
                }
                for name in self._trials
            },
        }
        path.write_text(json.dumps(content, indent=2) + "\n")


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
