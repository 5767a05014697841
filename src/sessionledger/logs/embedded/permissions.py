"""Findings about who else may read or replace the files of a ledger."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

from sessionledger.findings import Findings


def check_file(file: Path, found: Findings) -> None:
    """Only its owner may read and write it, and this process is to be its owner's."""
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        may = "write" if mode & 0o022 else "read"
        problem = f"its mode is {mode:04o}: others may {may} it"
        found.add("open_to_others", str(file), problem, f"chmod 600 {quote(str(file))}")
    if not os.access(file, os.R_OK | os.W_OK):
        _not_writable(file, found)


def check_folder(folder: Path, found: Findings) -> None:
    """Nobody else may put files into it, and we may."""
    check_surroundings(folder, found)
    if not os.access(folder, os.W_OK):
        _not_writable(folder, found)


def check_surroundings(folder: Path, found: Findings) -> None:
    """Nobody else may put files into it."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o022 and not mode & stat.S_ISVTX:
        problem = f"its mode is {mode:04o}: others may replace the ledger's files"
        found.add("folder_open_to_others", str(folder), problem, f"chmod go-w {quote(str(folder))}")


def _not_writable(path: Path, found: Findings) -> None:
    owner = path.stat().st_uid
    problem = f"user {os.geteuid()} may not write it: sessions can be neither changed nor ended"
    remedy = f"use the ledger as its owner, user {owner}, or give it to the user who does"
    found.add("not_writable", str(path), problem, remedy)
