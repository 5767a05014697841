"""Writes the comparison beside its results: a page of tables, and charts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from benchmarks.peers.comparison import ENVIRONMENT
from benchmarks.peers.running import PROJECT
from benchmarks.peers.table import page
from benchmarks.report import read


def write(results: Path) -> None:
    """Nothing where no peer was run."""
    report = read(results)
    if report is None or report.peers is None or not report.peers.peers:
        return
    results.with_name("peers.md").write_text(page(report.peers, report.machine))
    python = str(ENVIRONMENT / "bin" / "python")
    subprocess.run(
        [python, "-m", "benchmarks.peers.charts", str(results.resolve())], cwd=PROJECT, check=True
    )
