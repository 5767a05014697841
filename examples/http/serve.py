"""The service on a ledger in this folder, and what to try with it: `make run`.

The first run makes an admin key that may do everything. It keeps the key in `ledger/admin.key`, as
a header for `curl -H @file`: so the key is never in the process list, where others could read it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "sessionledger.cli"]
FOLDER = Path("ledger").absolute()
HEADER = FOLDER / "admin.key"
SCOPES = (
    *("sessions:create", "sessions:rotate", "sessions:read", "sessions:write", "sessions:revoke"),
    *("introspect", "events:read"),
)


def refuse_taken(host: str, port: str) -> None:
    """Stop where another program listens, before anything is made or promised."""
    try:
        socket.create_server((host, int(port))).close()
    except OSError as error:
        sys.exit(
            f"can't listen at {host}:{port}: {str(error.strerror).partition(' (')[0]}\n"
            "Stop the program that listens there, or choose another port: "
            "SESSIONLEDGER_PORT=8421 make run"
        )


def make_key() -> str:
    """A new admin key, kept as a header that only its owner can read."""
    options = [part for scope in SCOPES for part in ("--scope", scope)]
    made = subprocess.run(
        [*COMMAND, "keys", "create", "admin", *options], stdout=subprocess.PIPE, check=True
    )
    key = made.stdout.decode().strip()
    descriptor = os.open(HEADER, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"Authorization: Bearer {key}\n")
    return key


def say(url: str, key: str | None) -> None:
    """The address, the key if it is new, and three lines to copy."""
    print(f"The service is at {url}, its ledger in {FOLDER}.")
    if key is not None:
        print(f"Its admin key, shown this once and kept in {HEADER}:\n\n  {key}")
    curl = f"curl -sS -H @'{HEADER}'"
    print("\nTry, in another terminal: a session begins, is listed, and ends.\n")
    print(f'  {curl} --json \'{{"principal":"you"}}\' {url}/v1/sessions')
    print(f"  {curl} '{url}/v1/sessions?principal=you'")
    print(f"  {curl} -X DELETE '{url}/v1/sessions?principal=you'\n", flush=True)


def main() -> None:
    host = os.environ.setdefault("SESSIONLEDGER_HOST", "127.0.0.1")
    port = os.environ.setdefault("SESSIONLEDGER_PORT", "8420")
    refuse_taken(host, port)
    FOLDER.mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("SESSIONLEDGER_URL", f"sqlite:///{FOLDER / 'sessions.db'}")
    key = None if HEADER.exists() else make_key()
    say(f"http://{host}:{port}", key)
    os.execv(sys.executable, [*COMMAND, "serve"])


if __name__ == "__main__":
    main()
