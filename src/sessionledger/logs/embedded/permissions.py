"""Who else may get at the files of a ledger, as findings."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

from sessionledger.findings import Findings


def look_at_file(file: Path, found: Findings) -> None:
    """Only its owner may read and write it, and we are to be him."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        may = "write" if mode & 0o022 else "read"
        problem = f"its mode is {mode:04o}: others may {may} it"
        found.add("open_to_others", str(file), problem, f"chmod 600 {quote(str(file))}")
    if not os.access(file, os.R_OK | os.W_OK):
        _not_writable(file, found)


def look_at_folder(folder: Path, found: Findings) -> None:
    """Nobody else may put files into it, and we may."""
    look_around(folder, found)
    if not os.access(folder, os.W_OK):
        _not_writable(folder, found)


def look_around(folder: Path, found: Findings) -> None:
    """Nobody else may put files into it."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022 and not mode & stat.S_ISVTX:
        problem = f"its mode is {mode:04o}: others may replace the ledger's files"
        found.add("folder_open_to_others", str(folder), problem, f"chmod go-w {quote(str(folder))}")


def _not_writable(place: Path, found: Findings) -> None:
    owner = place.stat().st_uid
    problem = f"user {os.geteuid()} may not write it: sessions can be neither changed nor ended"
    remedy = f"use the ledger as its owner, user {owner}, or give it to who does"
    found.add("not_writable", str(place), problem, remedy)
