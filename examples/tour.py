"""A tour of sessionledger in a few seconds: `make tour`.

Every step goes through the command line, in a process of its own, on a ledger in a temporary
folder. The tour checks what it shows, and exits with 1 when something promised does not hold.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

COMMAND = [sys.executable, "-m", "sessionledger.cli"]
COLOURED = sys.stdout.isatty() and "NO_COLOR" not in os.environ
ACKNOWLEDGED_BEFORE_THE_KILL = 300


class Broken(Exception):
    """Something that was promised does not hold."""


def title(text: str) -> None:
    print(f"\n{_paint('1;36', text)}", flush=True)


def note(text: str) -> None:
    print(_paint("32", text), flush=True)


def promise(holds: bool, text: str) -> None:
    if not holds:
        raise Broken(text)
    note(f"✓ {text}")


def _paint(colour: str, text: str) -> str:
    return f"\033[{colour}m{text}\033[0m" if COLOURED else text


def echo(arguments: tuple[str, ...], token: str | None) -> None:
    given = "printenv TOKEN | " if token else ""
    words = shlex.join(arguments)
    print(_paint("1", f"$ {given}sessionledger {words}"), flush=True)


def show(*arguments: str, token: str | None = None, exits: int = 0) -> None:
    """Run a command in sight: a table on a terminal, lines in a pipe."""
    echo(arguments, token)
    done = subprocess.run([*COMMAND, *arguments], input=token, text=True, check=False)
    if done.returncode != exits:
        raise Broken(f"`{arguments[0]}` answered {done.returncode}, not {exits}")


def take(*arguments: str, token: str | None = None, exits: int = 0) -> str:
    """Run a command for what it prints."""
    done = subprocess.run(
        [*COMMAND, *arguments], input=token, text=True, stdout=subprocess.PIPE, check=False
    )
    if done.returncode != exits:
        raise Broken(f"`{arguments[0]}` answered {done.returncode}, not {exits}")
    return done.stdout


def records(*arguments: str, token: str | None = None) -> list[dict[str, Any]]:
    return [json.loads(line) for line in take(*arguments, "--json", token=token).splitlines()]


def create(principal: str, *options: str) -> str:
    echo(("create", principal, *options), None)
    token = take("create", principal, *options).strip()
    print(token, flush=True)
    return token


class Child:
    """This file in another process, in one of its other roles."""

    def __init__(self, role: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, role],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> str:
        assert self.process.stdin
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.answer()

    def answer(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().strip()

    def kill(self) -> list[str]:
        """`kill -9`, and what it had still said."""
        assert self.process.stdout
        self.process.send_signal(signal.SIGKILL)
        rest = self.process.stdout.read().splitlines()
        self.process.wait()
        return rest

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def read_when_asked() -> None:
    """The role of a server: one store, open all the time, asked about token after token."""
    from sessionledger import SessionStore

    with SessionStore.open(os.environ["SESSIONLEDGER_URL"]) as store:
        for line in sys.stdin:
            print("refused" if store.get(line) is None else "live", flush=True)


def write_until_killed() -> None:
    """The role of a victim: it prints a handle only after `create` has returned."""
    from sessionledger import SessionStore

    with SessionStore.open(os.environ["SESSIONLEDGER_URL"]) as store:
        while True:
            print(store.create("victim").handle, flush=True)


def sign_in() -> tuple[str, str]:
    title("Two principals sign in")
    role = '{"role":"operator"}'
    alice = create("alice", "--ttl", "12h", "--attributes", role, "--reason", "signed in")
    bob = create("bob", "--idle-timeout", "30m")
    note("  A token is printed this once: the ledger holds only its hash, the handle.")
    return alice, bob


def use(alice: str, bob: str) -> None:
    title("They are seen")
    show("get", token=alice)
    show("touch", "--context", "address=192.0.2.7", token=bob)
    show("sessions")


def revoke(alice: str) -> str:
    title("A session is revoked, and a process that is already running refuses it")
    handle = str(records("get", token=alice)[0]["handle"])
    with Child("reader") as server:
        before = server.ask(alice)
        print(f"the running process says: {before}", flush=True)
        show("revoke", "--handle", handle, "--reason", "laptop lost", "--actor", "security")
        after = server.ask(alice)
        print(f"the running process says: {after}", flush=True)
    promise((before, after) == ("live", "refused"), "refused at the very next read")
    show("get", token=alice, exits=1)
    return handle


def tell(handle: str) -> None:
    title("What happened, when, why and by whom")
    show("history", "--handle", handle)


def survive() -> None:
    title("A writing process is killed with kill -9")
    with Child("writer") as victim:
        acknowledged = [victim.answer() for _ in range(ACKNOWLEDGED_BEFORE_THE_KILL)]
        acknowledged += victim.kill()
    echo(("sessions", "--principal", "victim", "--json"), None)
    kept = {session["handle"] for session in records("sessions", "--principal", "victim")}
    # A last line that the kill cut short is no acknowledgement.
    whole = [handle for handle in acknowledged if len(handle) == len(acknowledged[0])]
    lost = [handle for handle in whole if handle not in kept]
    promise(not lost, f"{len(whole)} creates were acknowledged, {len(lost)} of them are lost")


def tamper(folder: Path, handle: str) -> None:
    title("One byte of an old event is flipped, in a copy of the ledger")
    show("verify")
    # The killed process left a write-ahead log, and commands that only read leave it alone.
    take("sweep")
    copy = _tampered_copy(folder, handle)
    answer = take("verify", "--ledger", str(copy), "--json", exits=1)
    show("verify", "--ledger", str(copy), exits=1)
    promise(json.loads(answer)["broken_id"] == 1, "verify names the event: 1")


def _tampered_copy(folder: Path, handle: str) -> Path:
    """A process that may write has closed the ledger, so all of it is in the one file."""
    ledger, copy = folder / "tour.db", folder / "tampered.db"
    if ledger.with_name("tour.db-wal").exists():
        raise Broken("the ledger was not closed well: its write-ahead log is still there")
    content = bytearray(ledger.read_bytes())
    event = f'"principal":"alice","token_handle":"{handle}"'.encode()
    # SQLite leaves stale bytes where a page was moved from; the page in use is the later one.
    at = content.rindex(event) + len('"principal":"')
    content[at] ^= 0x20
    copy.write_bytes(content)
    note("  the event says Alice now, where it said alice")
    return copy


def say_goodbye() -> None:
    here = Path(sys.executable).with_name("sessionledger")
    script = str(here) if here.exists() else "sessionledger"
    title("Try next, in a folder of your own")
    print(f"  TOKEN=$({script} create you --ttl 1h)      # makes sessions.db")
    print(f'  echo "$TOKEN" | {script} get')
    print(f"  {script} events                          # and --json, for jq")
    print(f"  {script} --help                          # docs/cli.md says the rest", flush=True)


def tour(folder: Path) -> None:
    os.environ["SESSIONLEDGER_URL"] = f"sqlite:///{folder / 'tour.db'}"
    os.environ.pop("SESSIONLEDGER_TOKEN", None)
    alice, bob = sign_in()
    use(alice, bob)
    handle = revoke(alice)
    tell(handle)
    survive()
    tamper(folder, handle)
    say_goodbye()


def main() -> int:
    folder = Path(tempfile.mkdtemp(prefix="sessionledger-"))
    try:
        tour(folder)
    except Broken as broken:
        print(_paint("1;31", f"✗ {broken}"), file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder)
    return 0


ROLES = {"reader": read_when_asked, "writer": write_until_killed}

if __name__ == "__main__":
    if sys.argv[1:]:
        ROLES[sys.argv[1]]()
    else:
        sys.exit(main())
