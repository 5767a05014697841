"""A real PgBouncer before the PostgreSQL server of a test run, for each mode of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests import postgres_server
from tests.servers import once, program, run_folder, serve

SERVER_CONNECTIONS = 3
"""How many it has to each database."""

_SETTINGS = """
[databases]
* = host={server} user=postgres
[pgbouncer]
listen_addr =
listen_port = 5432
unix_socket_dir = {at}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
server_lifetime = 86400
"""


def address(mode: str, place: Path) -> str:
    """The address of a ledger that is reached through a pooler in this mode."""
    name = f"pgbouncer-{mode}"
    folder = once(name, partial(_start, name, mode))
    return f"{postgres_server.by_socket(Path(folder))}&schema={postgres_server.schema(place)}"


def _start(name: str, mode: str) -> str:
    at = run_folder() / name
    at.mkdir()
    user = postgres_server.not_root(at)
    server = postgres_server.socket_path().parent
    settings = _SETTINGS.format(server=server, at=at, mode=mode, size=SERVER_CONNECTIONS)
    (at / "settings").write_text(settings)
    command: list[str | Path] = [program("pgbouncer"), at / "settings"]
    serve(at, command, ready="process up", end="TERM", user=user)
    return str(at)
