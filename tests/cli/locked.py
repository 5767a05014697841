"""A ledger that may be read and not written, and commands on it as one who may not."""

from __future__ import annotations

import os
from pathlib import Path

# Root may write everything, so this goes on as nobody.
AS_NOBODY = """
import contextlib, io, os, sys
from sessionledger.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(["doctor", "--ledger", "memory:"])  # imports what nobody may not be able to
import sessionledger.cli.commands.keys
import sessionledger.logs.sqlite.examination
import sessionledger.logs.sqlite.log
import sessionledger.logs.embedded.row_table
import sessionledger.logs.sqlite.read_only_log
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def lock(folder: Path) -> None:
    for file in folder.iterdir():
        file.chmod(0o644 if os.getuid() == 0 else 0o444)
    folder.chmod(0o555)


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """All files, and when each was changed."""
    return {p.name: (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.iterdir()}
