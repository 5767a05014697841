"""The comparison as charts; run in the peers' environment, which has matplotlib."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import msgspec
from matplotlib import pyplot
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from benchmarks.peers.contender import CREATE, CREATE_BATCH, CREATE_TOGETHER, VALIDATE
from benchmarks.peers.outcome import TASKS, Row, rows
from benchmarks.report import Machine, Report

# A light card of its own, so that it reads on a white page and on a dark one.
PAPER, INK, FAINT = "#ffffff", "#1f2328", "#d0d7de"
# Colours that the colour-blind can tell apart, and shapes beside them.
OURS, KEPT, LOST, LASTING, BARE = "#0072b2", "#009e73", "#e69f00", "#d55e00", "#8c959f"
SHAPES = {OURS: "D", KEPT: "o", LOST: "^", LASTING: "X", BARE: "s"}
MEANINGS = {
    OURS: "sessionledger: durable, revocable at once",
    KEPT: "durable, revocable at once",
    LOST: "revocable at once, but lost with the process, or in one process only",
    LASTING: "not revocable",
    BARE: "bare operation, nobody's product",
}
SCALE = "microseconds an operation, less is better; log scale; tick: the best round"
INCH_A_ROW = 0.3


def main() -> None:
    source = Path(sys.argv[1])
    report = msgspec.json.decode(source.read_bytes(), type=Report)
    assert report.peers is not None
    matplotlib.rcParams.update(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "sessionledger",
            "font.family": "sans-serif",
            "font.size": 10,
            "text.color": INK,
            "axes.labelcolor": INK,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    charts = {"validating": [VALIDATE], "creating": [CREATE, CREATE_TOGETHER, CREATE_BATCH]}
    for name, tasks in charts.items():
        panels = [(TASKS[task].title, rows(report.peers, task)) for task in tasks]
        _draw(panels, report.machine, source.with_name(f"{name}.svg"))


def _draw(panels: Sequence[tuple[str, Sequence[Row]]], machine: Machine, path: Path) -> None:
    counts = [max(1, len(found)) for _, found in panels]
    height = INCH_A_ROW * sum(counts) + 0.75 * len(panels) + 0.9
    figure, axes = pyplot.subplots(
        len(panels),
        figsize=(9, height),
        sharex=True,
        squeeze=False,
        gridspec_kw={"height_ratios": counts},
        facecolor=PAPER,
        layout="constrained",
    )
    for (title, found), (ax,) in zip(panels, axes, strict=True):
        _bars(ax, title, found)
    axes[-1][0].set_xlabel(SCALE)
    colours = {_colour(row) for _, found in panels for row in found}
    legend = [
        Line2D([], [], color=one, marker=SHAPES[one], markersize=8, linewidth=0, label=told)
        for one, told in MEANINGS.items()
        if one in colours
    ]
    figure.legend(handles=legend, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(
        f"{machine.processor}, {machine.cores} cores, {machine.system}, Python {machine.python}",
        fontsize=9,
    )
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)


def _bars(ax: Any, title: str, found: Sequence[Row]) -> None:
    ax.set_title(title, loc="left", fontsize=11, fontweight="bold")
    ax.set_facecolor(PAPER)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    for place, row in enumerate(found):
        colour = _colour(row)
        ax.plot([row.best, row.median], [place] * 2, color=colour, linewidth=3, alpha=0.55)
        ax.plot(row.best, place, marker="|", color=colour, markersize=11, markeredgewidth=2)
        ax.plot(row.median, place, marker=SHAPES[colour], color=colour, markersize=8)
        ax.annotate(
            _label(row.median),
            (row.median, place),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
        )
    ax.set_yticks(range(len(found)), [row.peer.name for row in found])
    ax.set_ylim(len(found) - 0.4, -0.6)
    ax.margins(x=0.08)
    ax.grid(axis="x", color=FAINT, linewidth=0.8)
    ax.grid(axis="y", color=FAINT, linewidth=0.4)
    ax.set_axisbelow(True)
    for side in ("top", "right", "left"):
        ax.spines[side].set_visible(False)
    ax.tick_params(axis="y", length=0)


def _label(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _colour(row: Row) -> str:
    name, promises = row.peer.name, row.peer.promises
    if name.startswith("sessionledger"):
        return OURS
    if name.startswith(("bare", "a dictionary")):
        return BARE
    if promises.revocable.startswith("no"):
        return LASTING
    everywhere = promises.revocable.startswith("yes, in every process")
    return KEPT if everywhere and promises.durable.startswith("yes") else LOST


if __name__ == "__main__":
    main()
