"""Makes a ledger with the code of a commit: see the package."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from tests import postgres_server, servers
from tests.ledgers import FOLDER, SCHEMA_OF_DUMPS, sources_of

ROOT = Path(__file__).parents[2]
_READ = """
import json, sys
from sessionledger import SessionStore
with SessionStore.open(sys.argv[1]) as store:
    try:
        listed = list(store.sessions(state="all", superseded=True))
    except TypeError:
        try:
            listed = list(store.sessions(live=False, superseded=True))
        except TypeError:  # an older one hides none
            listed = list(store.sessions(live=False))
    sessions = {one.handle: one for one in listed}
    print(json.dumps({
        "sessions": {
            handle: {
                "principal": one.principal, "attributes": one.attributes,
                "live": store.find(handle=handle) is not None,
            } for handle, one in sorted(sessions.items())
        },
        "events": len(list(store.events(after=getattr(store.verify(), "cut", 0)))),
        "head": str(store.head()),
    }, indent=1, ensure_ascii=False))
"""


def main(name: str, commit: str) -> None:
    """Write the ledger by the commit's code, and record what that code reads from it."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.pathsep.join([str(sources_of(commit, Path(folder))), str(ROOT)])
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
        backend = name.partition("-")[0]
        url, place = _address(backend, name)
        write = [sys.executable, str(ROOT / "tests/ledgers/write.py"), url, name.rpartition("-")[2]]
        subprocess.run(write, env=environment, check=True)
        read = [sys.executable, "-c", _READ, url]
        told = subprocess.run(read, env=environment, capture_output=True, check=True).stdout
        if backend == "postgresql":
            _dump(url, place)
        recorded = FOLDER / f"{name}.json"
        recorded.write_bytes(told)
        for companion in FOLDER.glob(f"{name}.db-*"):
            companion.unlink()


def _address(backend: str, name: str) -> tuple[str, Path]:
    place = FOLDER / f"{name}{ {'sqlite': '.db', 'file': '', 'postgresql': '.sql'}[backend] }"
    if place.is_dir():
        shutil.rmtree(place)
    place.unlink(missing_ok=True)
    if backend == "postgresql":
        return f"{postgres_server.server()}&schema={SCHEMA_OF_DUMPS}", place
    scheme = "sqlite://" if backend == "sqlite" else "file://"
    return f"{scheme}{'/' if backend == 'sqlite' else ''}{quote(str(place))}", place


def _dump(url: str, place: Path) -> None:
    """The schema as SQL that any later server takes: without owners and the newest settings."""
    server = url.partition("&schema=")[0]
    dumped = subprocess.run(
        [
            postgres_server.programs() / "pg_dump",
            "--no-owner",
            "--inserts",
            f"--schema={SCHEMA_OF_DUMPS}",
            server,
        ],
        capture_output=True,
        check=True,
        text=True,
    ).stdout
    kept = [line for line in dumped.splitlines() if not line.startswith(("--", "SET ", "\\"))]
    place.write_text("\n".join(line for line in kept if line) + "\n")
    postgres_server.execute(f"DROP SCHEMA {SCHEMA_OF_DUMPS} CASCADE")


if __name__ == "__main__":
    end = servers.begin()
    try:
        main(sys.argv[1], sys.argv[2])
    finally:
        end()
