"""Findings about who else may read or replace the files of a ledger."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from shlex import quote

from sessionledger.errors import LogUnavailable
from sessionledger.findings import Findings
from sessionledger.ownership import Owner, check_companion, owner_of


def check_file(file: Path, ledger: Path, found: Findings) -> None:
    """Only who may write the ledger may read and write it, and this process is to be one."""
    status, owner = file.lstat(), owner_of(ledger)
    mode = stat.S_IMODE(status.st_mode)
    if _is_shared(status, owner) and mode & 0o077 == 0o060:
        problem = f"its mode is {mode:04o}: group {owner.gid} may read and write it"
        found.add(
            "shared_with_group", str(file), problem, "nothing, if all of them may end sessions"
        )
    elif mode & 0o077:
        may = "write" if mode & 0o022 else "read"
        problem = f"its mode is {mode:04o}: others may {may} it"
        found.add("open_to_others", str(file), problem, f"chmod 600 {quote(str(file))}")
    try:
        check_companion(file, status, owner, 0)
    except LogUnavailable as error:
        remedy = f"find out who made it, then: chown {owner.uid} {quote(str(file))}"
        found.add("of_another_owner", str(file), str(error), remedy)
    if not os.access(file, os.R_OK | os.W_OK):
        _not_writable(file, found)


def check_folder(folder: Path, ledger: Path, found: Findings) -> None:
    """Nobody else may put files into it, and we may."""
    check_surroundings(folder, ledger, found)
    if not os.access(folder, os.W_OK):
        _not_writable(folder, found)


def check_surroundings(folder: Path, ledger: Path, found: Findings) -> None:
    """Nobody else may put files into it."""
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    others = 0o002 if _is_shared(status, owner_of(ledger)) else 0o022
    if mode & others and not mode & stat.S_ISVTX:
        problem = f"its mode is {mode:04o}: others may replace the ledger's files"
        found.add("folder_open_to_others", str(folder), problem, f"chmod go-w {quote(str(folder))}")


def _is_shared(status: os.stat_result, owner: Owner) -> bool:
    return bool(owner.mode & stat.S_IWGRP) and status.st_gid == owner.gid


def _not_writable(path: Path, found: Findings) -> None:
    owner = path.stat().st_uid
    problem = f"user {os.geteuid()} may not write it: sessions can be neither changed nor ended"
    remedy = f"use the ledger as its owner, user {owner}, or give it to the user who does"
    found.add("not_writable", str(path), problem, remedy)
