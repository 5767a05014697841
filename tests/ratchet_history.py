"""What commits did to a list that may only become shorter, or to counts that may only fall.

A commit may do otherwise if its message says why, on a line that begins with `Ratchet:`.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple


class Change(NamedTuple):
    """The lines that a commit removed and added, without comments."""

    commit: str
    removed: list[str]
    added: list[str]


def unexplained(log: str, raises: Callable[[Change], bool]) -> list[str]:
    """The commits in a log that raise something and don't say why."""
    return [change.commit for change in changes_in(log) if raises(change)]


def changes_in(log: str) -> Iterator[Change]:
    """The changes in a log, but for those that say why, and the one that began the file."""
    for commit in log.split("\0")[1:]:
        said, _, patch = commit.partition("\ndiff --git")
        if "\nnew file mode" not in patch and not re.search("^Ratchet: .", said, re.MULTILINE):
            removed, added = (
                re.findall(rf"^[{sign}](?![{sign}]|#)(.+)$", patch, re.MULTILINE) for sign in "-+"
            )
            yield Change(said.split()[0], removed, added)


def log_of(path: Path) -> str:
    """What commits did to a file; empty where there is no repository."""
    command = [
        "git",
        "-C",
        str(path.parent),
        "log",
        "-p",
        "-U0",
        "--format=%x00%h %B",
        "--",
        path.name,
    ]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
