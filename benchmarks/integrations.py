"""A request that reads its session, and one that changes it, beside what people have now.

Each application has the same server as its rival: gunicorn with one worker and 16 threads for WSGI,
uvicorn with one worker for ASGI. wrk sends over one connection, or over 16 with a session each. The
server has one core and wrk the other; Redis runs where the system finds room.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

from benchmarks.peers.servers import Missing, redis_server
from benchmarks.redis_server import free_port
from benchmarks.rounds import Goal, Timing, measure
from benchmarks.serving import (
    PEERS,
    ROOT,
    listens,
    on_core,
    process,
    requests_in,
    told_by_wrk,
    until,
)

CONCURRENT = 16
SECONDS = 1
SERVERS = {
    "wsgi": ["gunicorn", "--worker-class", "gthread", "--threads", "16", "--keep-alive", "60"],
    "asgi": ["uvicorn", "--factory", "--loop", "uvloop", "--http", "httptools", "--no-access-log"],
}
# By framework: its kind, ours, and the others by their names.
APPS = {
    "Flask": ("wsgi", "flask_ours", {"Flask-Session, Redis": "flask_session_redis"}),
    "Starlette": ("asgi", "starlette_ours", {"starsessions, Redis": "starsessions_redis"}),
    "Litestar": ("asgi", "litestar_ours", {"Litestar, Redis": "litestar_redis"}),
    "Django": (
        "wsgi",
        "django_ours",
        {"Django, db": "django_db", "Django, cached_db": "django_cached_db"},
    ),
}
READ, CHANGE = "read", "change"


def task(name: str, path: str, connections: int) -> str:
    """How the timing of a run is called."""
    return f"{name}: {path}, {connections}"


def goals() -> Iterator[Goal]:
    for framework, (_, _, others) in APPS.items():
        for other in others:
            most = {(READ, 1): 1.0, (READ, CONCURRENT): 1.0, (CHANGE, CONCURRENT): 1.0}
            if "Redis" in other:
                most[CHANGE, 1] = 1.5
            for (path, connections), bound in most.items():
                ours = task(f"{framework}, ours", path, connections)
                yield Goal(ours, task(other, path, connections), bound)


def integrations(folder: Path, rounds: int) -> dict[str, Timing]:
    """Microseconds of a server for each request."""
    if shutil.which("wrk") is None or not PEERS.exists():
        return {}
    with ExitStack() as stack:
        told: dict[str, str] = {}
        try:
            (at := folder / "redis").mkdir()
            port = stack.enter_context(redis_server(at, PEERS.parent.parent))["redis_port"]
            told["REDIS_PORT"] = str(port)
        except (Missing, OSError):
            pass
        runs: dict[str, Callable[[], int]] = {}
        for framework, (kind, ours, others) in APPS.items():
            for name, factory in {f"{framework}, ours": ours, **others}.items():
                if told or "redis" not in factory:
                    url = stack.enter_context(_served(kind, factory, folder / factory, told))
                    runs |= _runs(name, url, folder / factory)
        return measure(runs, rounds)


@contextmanager
def _served(kind: str, factory: str, at: Path, told: dict[str, str]) -> Iterator[str]:
    at.mkdir()
    port = free_port()
    server = [str(PEERS), "-m", *SERVERS[kind]]
    if kind == "wsgi":
        command = [
            *server,
            "--bind",
            f"127.0.0.1:{port}",
            f"benchmarks.integration_apps:{factory}()",
        ]
    else:
        command = [*server, "--port", str(port), f"benchmarks.integration_apps:{factory}"]
    given = {"FOLDER": str(at), "PYTHONPATH": str(ROOT), **told}
    with process(command, at, given):
        until(lambda: listens(port))
        yield f"http://127.0.0.1:{port}"


def _runs(name: str, url: str, at: Path) -> dict[str, Callable[[], int]]:
    cookies = [_begun(url) for _ in range(CONCURRENT)]
    script = at / "cookies.lua"
    told = ", ".join(f'"{cookie}"' for cookie in cookies)
    script.write_text(f"""
        wrk.headers["Sec-Fetch-Site"] = "same-origin"
        local cookies, sent = {{{told}}}, 0
        request = function()
            wrk.headers["Cookie"] = cookies[sent % #cookies + 1]
            sent = sent + 1
            return wrk.format()
        end
    """)

    def run(path: str, connections: int) -> Callable[[], int]:
        wrk = ["wrk", "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(script)]
        command = [*on_core(1), *wrk, f"{url}/{path}"]
        return lambda: requests_in(told_by_wrk(command), SECONDS)

    return {
        task(name, path, connections): run(path, connections)
        for path in (READ, CHANGE)
        for connections in (1, CONCURRENT)
    }


def _begun(url: str) -> str:
    """The cookie of a new session."""
    request = Request(f"{url}/begin", headers={"Sec-Fetch-Site": "same-origin"})
    with urlopen(request) as answer:
        told: str = answer.headers["Set-Cookie"]
        return told.partition(";")[0]
