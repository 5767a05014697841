"""The service on one worker, beside the same server answering a constant, and beside its like.

wrk sends to one at a time, in rounds; each server has one core to itself and wrk the other.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.request import urlopen

import msgspec

from benchmarks.redis_server import free_port, running_redis
from benchmarks.rounds import Figure, Goal, Timing, measure
from sessionledger import SessionStore

ROOT = Path(__file__).parent.parent
PEERS = ROOT / ".venv-bench" / "bin" / "python"
CONNECTIONS = 16
SESSIONS = 256
SECONDS = 2
READY_SECONDS = 30

CONSTANT = "a constant"
CONSTANT_TO_A_FORM = "a constant, to who sends a form"
AUTH, INTROSPECT = "/auth", "/introspect"
OTHERS = {
    "Starlette, PyJWT": "pyjwt",
    "Starlette, signed cookie": "cookie",
    "starsessions, Redis": "starsessions_redis",
    "fastapi-users, database": "fastapi_users",
}
GOALS = (
    Goal(AUTH, CONSTANT, 0.8, at_least=True),
    Goal(INTROSPECT, CONSTANT, 0.65, at_least=True),
    Goal(INTROSPECT, CONSTANT_TO_A_FORM, 0.65, at_least=True),
    *(Goal(AUTH, name, 1.0, at_least=True) for name in OTHERS),
)

_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99 = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s)$", re.MULTILINE)
_FAILED = re.compile(r"Non-2xx|Socket errors")
_MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Target(msgspec.Struct, frozen=True):
    """Where to send to, and how."""

    url: str
    header: str
    script: Path | None = None


class Load:
    """Sends to one target at a time, and keeps the p99 of each time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.p99: list[float] = []

    def __call__(self) -> int:
        """Send for a while; how many requests that would be in one second more."""
        wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency"]
        script = [] if self._target.script is None else ["-s", str(self._target.script)]
        command = [*on_core(1), *wrk, *script, "-H", self._target.header, self._target.url]
        told = told_by_wrk(command)
        p99 = _P99.search(told)
        assert p99 is not None, told
        self.p99.append(float(p99[1]) * _MILLISECONDS[p99[2]])
        return requests_in(told, SECONDS)


def told_by_wrk(command: list[str]) -> str:
    """What it prints, if every request was answered with success."""
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert not _FAILED.search(told), told
    return told


def requests_in(told: str, seconds: int) -> int:
    """How many requests those would be, in all of the time."""
    rate = _RATE.search(told)
    assert rate is not None, told
    return round(float(rate[1]) * seconds)


def serving(folder: Path, rounds: int) -> tuple[dict[str, Timing], list[Figure]]:
    """Microseconds of one worker for each request, and the p99 in milliseconds."""
    if shutil.which("wrk") is None:
        return {}, []
    with ExitStack() as stack:
        targets = stack.enter_context(_ours(folder))
        targets |= stack.enter_context(_app(CONSTANT, "constant", Path(sys.executable), folder))
        # What /introspect is asked is longer than what /auth is, whatever it is answered.
        asking = targets[INTROSPECT].script
        targets[CONSTANT_TO_A_FORM] = msgspec.structs.replace(targets[CONSTANT], script=asking)
        if PEERS.exists():
            # On no core of its own: it runs where the system finds room, beside server and load.
            redis = stack.enter_context(running_redis([]))
            told = {} if redis is None else {"REDIS_PORT": str(redis.port)}
            for name, factory in OTHERS.items():
                if factory != "starsessions_redis" or told:
                    targets |= stack.enter_context(_app(name, factory, PEERS, folder, **told))
        loads = {name: Load(target) for name, target in targets.items()}
        contenders: dict[str, Callable[[], int]] = dict(loads)
        timings = measure(contenders, rounds)
    figures = [
        Figure(f"{name}, p99", statistics.median(load.p99), "ms") for name, load in loads.items()
    ]
    return timings, figures


@contextmanager
def _ours(folder: Path) -> Iterator[dict[str, Target]]:
    at = folder / "ours"
    at.mkdir()
    command = [sys.executable, "-m", "sessionledger.cli"]
    key = subprocess.run(
        [*command, "keys", "create", "bench", "--scope", "introspect"],
        cwd=at,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout.strip()
    port = free_port()
    with process([*command, "serve", "--port", str(port)], at, {}):
        url = f"http://127.0.0.1:{port}"
        until(lambda: _is_ready(f"{url}/readyz"))
        # By another process, while it is served: as in any ledger that is in use.
        with SessionStore.open(f"sqlite:///{at / 'sessions.db'}") as store:
            tokens = [
                store.create(f"user {number}", attributes={"scope": "read"}).token
                for number in range(SESSIONS)
            ]
        asking = at / "introspect.lua"
        asking.write_text(_asking_about(tokens))
        yield {
            AUTH: Target(f"{url}/auth", f"Authorization: Bearer {tokens[0]}"),
            INTROSPECT: Target(f"{url}/introspect", f"Authorization: Bearer {key}", asking),
        }


def _asking_about(tokens: list[str]) -> str:
    """A script that asks about one after the other, over whichever connection is free."""
    bodies = ", ".join(f'"token={token}"' for token in tokens)
    return f"""
        wrk.method = "POST"
        wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"
        local requests, sent = {{}}, 0
        init = function()
            for number, body in ipairs({{{bodies}}}) do
                requests[number] = wrk.format(nil, nil, nil, body)
            end
        end
        request = function()
            sent = sent + 1
            return requests[sent % #requests + 1]
        end
    """


@contextmanager
def _app(
    name: str, factory: str, python: Path, folder: Path, **variables: str
) -> Iterator[dict[str, Target]]:
    at = folder / factory
    at.mkdir()
    credentials, port = at / "credentials", free_port()
    uvicorn = ["-m", "uvicorn", "--factory", f"benchmarks.serving_apps:{factory}"]
    options = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header"]
    command = [str(python), *uvicorn, *options, "--log-level", "error", "--port", str(port)]
    given = {"CREDENTIALS": str(credentials), "PYTHONPATH": str(ROOT), **variables}
    with process(command, at, given):
        url = f"http://127.0.0.1:{port}/auth"
        until(credentials.exists)
        until(lambda: listens(port))
        yield {name: Target(url, credentials.read_text())}


@contextmanager
def process(command: list[str], at: Path, variables: Mapping[str, str]) -> Iterator[None]:
    with (at / "log").open("w") as log:
        process = subprocess.Popen(
            [*on_core(0), *command], cwd=at, env=os.environ | variables, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(READY_SECONDS)


def on_core(number: int) -> list[str]:
    enough = (os.cpu_count() or 1) > 1 and shutil.which("taskset") is not None
    return ["taskset", "-c", str(number)] if enough else []


def _is_ready(url: str) -> bool:
    try:
        with urlopen(url) as answer:
            return bool(answer.status == HTTPStatus.OK)
    except OSError:
        return False


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < end, "a server did not start"
        time.sleep(0.05)
