"""Applications in processes of their own, on one ledger: real servers on real sockets."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

PATIENCE_SECONDS = 30
COMMANDS = {
    "uvicorn": ("uvicorn", "--log-level", "warning", "--fd"),
    "gunicorn": ("gunicorn", "--log-level", "warning", "--no-control-socket", "--bind"),
}


def ledger_in(folder: Path) -> str:
    return f"sqlite:///{folder / 'sessions.db'}"


@contextmanager
def served(server: str, app: str, folder: Path, *options: str) -> Iterator[httpx.Client]:
    """A client of an application that a server runs. It listens before the server begins, so that
    nobody has to wait until it does."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        descriptor = listening.fileno()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        place = f"fd://{descriptor}" if server == "gunicorn" else str(descriptor)
        process = subprocess.Popen(
            [sys.executable, "-m", *COMMANDS[server], place, *options, app],
            env=os.environ | {"LEDGER": ledger_in(folder)},
            pass_fds=[descriptor],
            stderr=subprocess.PIPE,
            text=True,
        )
    # It is the server's alone now: whoever asks one that ended is told so, and does not wait.
    with httpx.Client(base_url=url, timeout=PATIENCE_SECONDS) as client:
        try:
            yield client
        finally:
            process.terminate()
            _, told = process.communicate(timeout=PATIENCE_SECONDS)
    assert "Traceback" not in told, told
