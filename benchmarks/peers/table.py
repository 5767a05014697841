"""The comparison as a page of Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.peers.contender import EACH
from benchmarks.peers.outcome import TASKS, Compared, Row, rows, told
from benchmarks.report import Machine

HEADINGS = (
    "",
    "median µs",
    "best µs",
    "× ours",
    "durable?",
    "revocable at once?",
    "listable by principal?",
    "linearizable?",
)


def page(compared: Compared, machine: Machine) -> str:
    """All tables, with the machine, and what could not be run."""
    parts = [_head(compared, machine)]
    for task, known in TASKS.items():
        found = rows(compared, task)
        if found:
            beside = f"`× ours`: beside *{known.ours}*, {TASKS[known.against].short}."
            parts.append(f"## {known.title}\n\n{_table(found)}\n\n{beside}")
    if compared.verdicts:
        goals = "\n".join(f"- {told(verdict)}" for verdict in compared.verdicts)
        parts.append(f"## Goals, 128 tasks\n\n{goals}")
    parts += [_calls(compared), _not_run(compared.not_run)]
    return "\n\n".join(parts) + "\n"


def _head(compared: Compared, machine: Machine) -> str:
    return f"""# Beside what people use now

Written by `make bench`, which measures everything anew; how, and what the words mean, is told in
[Performance](../performance.md#beside-what-people-use-now).

{machine.processor}, {machine.cores} cores, {machine.system}; Python {machine.python}, SQLite
{machine.sqlite}, sessionledger {machine.sessionledger}; {compared.measured_at}. Each holds
{compared.sessions:,} live sessions, {EACH} a principal. Microseconds for one operation; the ratio
is the median of the rounds' ratios."""


def _table(found: Sequence[Row]) -> str:
    lines = [HEADINGS, ("---", "---:", "---:", "---:", *["---"] * 4), *map(_cells, found)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    promises = row.peer.promises
    name = f"**{row.peer.name}**" if row.peer.name.startswith("sessionledger") else row.peer.name
    return (
        name,
        _figure(row.median),
        _figure(row.best),
        "" if row.times is None else _figure(row.times, 2),
        promises.durable,
        promises.revocable,
        promises.listable,
        promises.linearizable,
    )


def _figure(value: float, places: int = 1) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.{places}f}"


def _calls(compared: Compared) -> str:
    lines = ["| | version | task | what is measured |", "| --- | --- | --- | --- |"]
    for peer in compared.peers:
        name, version = f"**{peer.name}**", peer.version
        for task in peer.tasks:
            lines.append(f"| {name} | {version} | {TASKS[task].short} | {peer.measured[task]} |")
            name = version = ""
    return "## What is measured\n\n" + "\n".join(lines)


def _not_run(reasons: Sequence[str]) -> str:
    told = "\n".join(f"- {reason}" for reason in reasons) or "Everything could be run."
    return f"## Not run\n\n{told}"
