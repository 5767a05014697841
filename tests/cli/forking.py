"""The command, forked for each call from a process that has imported it: a tenth of the time.

`python -m tests.cli.forking SOCKET` serves; `install` puts a `sessionledger` into a folder that
hands its arguments, streams, folder and environment over, and exits as the forked command does.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from sessionledger.cli.commands import COMMANDS, load

ROOT = Path(__file__).parents[2]
CALL = f"""#!{sys.executable} -IS
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect(PATH)
told = ["\\0".join(sys.argv[1:]), os.getcwd(), *(f"{{k}}={{v}}" for k, v in os.environ.items())]
text = "\\1".join(told).encode("utf-8", "surrogateescape")
socket.send_fds(server, [len(text).to_bytes(4, "big")], [0, 1, 2])
server.sendall(text)
sys.exit(server.recv(1)[0])
"""


@contextmanager
def commands(folder: Path) -> Iterator[None]:
    """A `sessionledger` in the folder, for as long as the block lasts."""
    path = folder / "socket"
    command = folder / "sessionledger"
    command.write_text(CALL.replace("PATH", repr(str(path))))
    command.chmod(0o700)
    serving = [sys.executable, "-m", "tests.cli.forking", str(path)]
    with subprocess.Popen(serving, cwd=ROOT, stdout=subprocess.PIPE) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            yield
        finally:
            server.kill()


def serve(path: str) -> None:
    """Fork for whoever connects."""
    _get_ready()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        print("ready", flush=True)
        while True:
            caller, _ = listener.accept()
            with caller:
                if not os.fork():
                    os._exit(_answer(caller))


def _get_ready() -> None:
    """Import what the commands import."""
    for name in ("sessionledger.logs.sqlite", "sessionledger.logs.file", "rich.table"):
        import_module(name)
    import_module("sessionledger.cli.main")
    for name in COMMANDS:
        load(name)


def _answer(caller: socket.socket) -> int:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    size, streams, _, _ = socket.recv_fds(caller, 4, 3)
    text = caller.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL)
    words, folder, *variables = text.decode("utf-8", "surrogateescape").split("\1")
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    for variable in variables:
        name, _, value = variable.partition("=")
        os.environ[name] = value
    code = _run(words.split("\0") if words else [])
    caller.sendall(bytes([code]))
    return 0


def _run(arguments: list[str]) -> int:
    from sessionledger.cli.main import main

    streams = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
    sys.stdin, sys.stdout, sys.stderr = streams
    sys.argv[1:] = arguments
    try:
        return main(arguments)
    finally:
        for stream in (sys.stdout, sys.stderr):
            if not stream.closed:
                stream.flush()


if __name__ == "__main__":
    serve(sys.argv[1])
