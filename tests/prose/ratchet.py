"""How many faults each file still has: counts that only fall.

`ratchet.txt` has a line for each file with faults. What is not listed may have none. Files that are
moved or divided take over, together, at most what the files that are gone had.
"""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.prose.faults import faults_of

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


def raised(log: str) -> Iterator[str]:
    """The commits of `git log -p` that allow more faults than before, and don't say why."""
    for commit in log.split("\0")[1:]:
        said, _, patch = commit.partition("diff --git")
        lines = patch.splitlines()
        before = dict(parsed(line[1:]) for line in lines if re.match(r"-\d", line))
        now = dict(parsed(line[1:]) for line in lines if re.match(r"\+\d", line))
        created = "new file mode" in patch
        if not created and not re.search("^Ratchet: .", said, re.MULTILINE):
            yield from [said.split()[0]] if now.keys() and lowered(before, now) != now else []


def history() -> str:
    """What commits did to the ratchet; empty where there is no repository."""
    command = ["git", "-C", str(ROOT), "log", "-p", "-U0", "--format=%x00%h %B", "--", str(RATCHET)]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
