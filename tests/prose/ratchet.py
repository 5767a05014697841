"""How many faults each file still has: counts that only fall.

`ratchet.txt` has a line for each file with faults. What is not listed may have none. Files that are
moved or divided take over, together, at most what the files that are gone had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from tests.prose.faults import faults_of
from tests.ratchet_history import Change

ROOT = Path(__file__).parent.parent.parent
RATCHET = Path(__file__).parent / "ratchet.txt"
KINDS = ("long", "banned")
HEAD = "# long sentences, banned words, file; lowered by `make ratchet`, never raised\n"
GENERATED = {"docs/benchmarks/peers.md", "docs/api.md"}

Counts = Mapping[str, Counter[str]]


def files() -> list[Path]:
    """Every page and every module that readers read."""
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    modules = [*(ROOT / "src").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    return sorted(p for p in [*pages, *modules] if str(p.relative_to(ROOT)) not in GENERATED)


def counted() -> Counts:
    """The faults that there are, by file."""
    counts = {
        str(path.relative_to(ROOT)): Counter(fault.kind for fault in faults_of(path))
        for path in files()
    }
    return {name: count for name, count in counts.items() if count}


def allowed() -> Counts:
    """The faults that are allowed, by file."""
    lines = [line for line in RATCHET.read_text().splitlines() if not line.startswith("#")]
    return dict(map(parsed, lines))


def parsed(line: str) -> tuple[str, Counter[str]]:
    """A line of the ratchet."""
    *counts, name = line.split()
    return name, Counter(dict(zip(KINDS, map(int, counts), strict=True)))


def lowered(before: Counts, now: Counts) -> dict[str, Counter[str]]:
    """What is allowed from now on: nowhere more than before.

    New names share what names that are gone had, in the order of the alphabet.
    """
    left = sum((before[name] for name in before.keys() - now.keys()), Counter[str]())
    result = {}
    for name, count in sorted(now.items()):
        result[name] = count & before.get(name, left)
        if name not in before:
            left -= result[name]
    return {name: count for name, count in result.items() if count}


def write(counts: Counts) -> None:
    """Put the counts in the file."""
    lines = [f"{c['long']} {c['banned']} {name}\n" for name, c in sorted(counts.items())]
    RATCHET.write_text(HEAD + "".join(lines))


def raises(change: Change) -> bool:
    """Whether a commit allows more faults than before."""
    before, now = (dict(map(parsed, lines)) for lines in (change.removed, change.added))
    return bool(now) and lowered(before, now) != now
