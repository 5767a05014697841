"""The command line and the service, given tokens in right and in wrong places.

Whatever they print, log, write or pass on is searched for each token.
"""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sessionledger import SessionStore
from torture.ledger import POLICY
from torture.trial import Trial, url_in

CLI = (sys.executable, "-m", "sessionledger.cli")
COMMANDS = (
    ["get"], ["get", "--json"], ["authenticate"], ["touch"], ["patch", '{"n":1}'], ["patch", "{"],
    ["patch", '{"n":1}', "--if-version", "7"], ["reauthenticate"], ["expire"], ["revoke"],
    ["create", "bob", "--token-stdin"], ["sessions"], ["history", "--principal", "alice"],
    ["events"], ["verify"], ["doctor"], ["stats"], ["log-out-everywhere"],
)  # fmt: skip
AT_A_TIME = 8
REQUESTS = (
    ("GET", "/v1/session"), ("POST", "/v1/session/slide"), ("GET", "/v1/sessions"),
    ("GET", "/auth"), ("GET", "/v1/session?token={token}"), ("GET", "/{token}"),
    ("DELETE", "/v1/sessions/{token}"), ("GET", "/v1/history/{token}"), ("POST", "/introspect"),
    ("POST", "/revoke"), ("POST", "/v1/sessions"), ("GET", "/v1/sessions?principal={token}"),
    ("DELETE", "/v1/session"),
)  # fmt: skip


def surfaces(trial: Trial, log: str) -> None:
    """Make calls from a shell and over HTTP."""
    url = url_in(trial.folder, log)
    with SessionStore.open(url, policy=POLICY) as store:
        tokens = [store.create("alice").token for _ in range(6)]
    printed = trial.folder / "printed"
    passed = ""
    for command in trial.rng.sample(COMMANDS, trial.size(AT_A_TIME)):
        _run(url, command, trial.rng.choice(tokens), printed)
        trial.counts["commands"] += 1
    with _served(url, printed) as port:
        for method, path in REQUESTS:
            _ask(port, method, path, trial.rng.choice(tokens), printed)
            trial.counts["requests"] += 1
        passed = _arguments_of_all()
    trial.fail(trial.tokens_found(tokens, passed))


def _run(url: str, command: list[str], token: str, printed: Path) -> None:
    with printed.open("ab") as output:
        subprocess.run(
            [*CLI, *command, "--ledger", url],
            input=token.encode(),
            stdout=output,
            stderr=output,
            check=False,
            timeout=60,
        )


@contextmanager
def _served(url: str, printed: Path) -> Iterator[int]:
    command = [*CLI, "serve", "--ledger", url, "--port", "0"]
    with printed.open("ab") as output:
        begun = output.tell()
        running = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield _port(running, printed, begun)
    finally:
        running.terminate()
        running.wait(60)


def _port(running: subprocess.Popen[bytes], printed: Path, begun: int) -> int:
    while running.poll() is None:
        said = printed.read_bytes()[begun:].decode()
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", said):
            return int(found[1])
    raise RuntimeError(f"the service did not start: {printed.read_text()[begun:]}")


def _ask(port: int, method: str, path: str, token: str, printed: Path) -> None:
    """Ask with the token as a bearer's, in a cookie, in a body, and where the path has it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = json.dumps({"principal": "alice", "token": token, "attributes": {"t": token}})
    headers = {
        "Authorization": f"Bearer {token}",
        "Cookie": f"__Host-session={token}",
        "Content-Type": "application/json",
    }
    connection.request(method, path.format(token=token), body, headers)
    answer = connection.getresponse()
    with printed.open("ab") as output:
        output.write(answer.read() + str(answer.headers).encode())
    connection.close()


def _arguments_of_all() -> str:
    """The arguments and the environment of every process that runs now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            try:
                found.append((process / name).read_bytes())
            except OSError:
                continue
    return b"\n".join(found).decode(errors="replace")
