"""How soon a process that was just started answers: importing, and each command.

Installing a package compiles it, and so every process here finds bytecode, also where the
environment forbids to write any: otherwise most of what is measured would be the compiler.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks.rounds import Figure, Goal, Limit, Timing, measure
from sessionledger import SessionStore
from sessionledger.server.service.keys import KEY_POLICY, SCOPES, new_key
from sessionledger.server.settings import KEYS_TOPIC
from sessionledger.webhooks.endpoint_file import endpoint_file
from sessionledger.webhooks.endpoints import new_endpoint

IMPORTS = 15
UNCOMPILED = ("PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX")

PASS, GET = "python -c pass", "sessionledger get"
# Every command. What stands in braces was made for this one call.
COMMANDS = (
    *("--version", "--help", "create --help", "create alice", "get --handle {handle}"),
    *("authenticate", "reauthenticate", "touch", "rotate", "expire", "revoke --handle {handle}"),
    *("patch {changes}", "revoke-all --principal alice", "sweep", "sessions"),
    *("history --handle {handle}", "as-of --handle {handle} --at 2999-01-01T00:00:00Z"),
    *("watch --after 0 --limit 1", "events", "head", "verify", "rebuild", "stats", "doctor"),
    *("serve --show-config", "keys create {name} --scope introspect", "keys list"),
    *("keys revoke --handle {key}", "webhooks add https://example.com/{name}", "webhooks list"),
    *("webhooks enable {endpoint}", "webhooks remove {endpoint}"),
)
GOALS = (
    Goal(GET, PASS, 5),
    *(Goal(f"sessionledger {command}", PASS, 7) for command in COMMANDS),
)

IMPORT = "from sessionledger import SessionStore"
LIMITS = (Limit(IMPORT, 60),)

# What a package of ours does not ask for is not there where nothing else is installed; where it
# is, what we rest on looks into it at some length.
_ALONE = "import sys; sys.modules['typing_extensions'] = None\n"
_TIMED = """
import time
begun = time.perf_counter()
from sessionledger import SessionStore
print((time.perf_counter() - begun) * 1000)
"""


def starting(folder: Path, rounds: int) -> tuple[dict[str, Timing], list[Figure]]:
    """Microseconds of whole processes, and milliseconds of importing within one."""
    contenders: dict[str, Callable[[], int]] = {
        PASS: lambda: _run([sys.executable, "-c", "pass"], _compiled()),
        GET: _calls("get", folder / "get.db", rounds),
    }
    for number, command in enumerate(COMMANDS):
        contenders[f"sessionledger {command}"] = _calls(command, folder / f"{number}.db", rounds)
    timings = measure(contenders, rounds)
    return timings, [
        Figure(IMPORT, _importing(_ALONE + _TIMED), "ms"),
        Figure("with typing_extensions installed", _importing(_TIMED), "ms"),
    ]


def _calls(command: str, ledger: Path, rounds: int) -> Callable[[], int]:
    """The command on its own ledger, with a session, a key and an endpoint for each call."""
    script = str(Path(sys.executable).with_name("sessionledger"))
    url = f"sqlite:///{ledger}"
    endpoints = endpoint_file(ledger)
    assert endpoints is not None
    calls = []
    with (
        SessionStore.open(url, durability="normal") as store,
        SessionStore.open(url, topic=KEYS_TOPIC, policy=KEY_POLICY) as keys,
    ):
        for number in range(1 + rounds):
            issued, endpoint = store.create("alice"), new_endpoint(f"https://example.org/{number}")
            key = keys.create(f"key{number}", attributes=new_key(f"key{number}", SCOPES, None))
            endpoints.add(endpoint)
            words = command.format(
                handle=issued.handle,
                name=f"new{number}",
                key=key.handle,
                endpoint=endpoint.id,
                changes="{}",
            )
            told = {"SESSIONLEDGER_TOKEN": issued.token, "SESSIONLEDGER_URL": url}
            calls.append(([script, *shlex.split(words)], _compiled() | told))
    each = iter(calls)
    return lambda: _run(*next(each))


def _compiled() -> dict[str, str]:
    """The environment of a process that finds what it imports compiled, or compiles it once."""
    return {name: value for name, value in os.environ.items() if name not in UNCOMPILED}


def _run(command: list[str], variables: dict[str, str]) -> int:
    subprocess.run(command, env=variables, stdout=subprocess.DEVNULL, check=True)
    return 1


def _importing(program: str) -> float:
    command = [sys.executable, "-c", program]
    runs = [
        subprocess.run(command, env=_compiled(), capture_output=True, check=True)
        for _ in range(1 + IMPORTS)
    ]
    return statistics.median(float(run.stdout) for run in runs[1:])
