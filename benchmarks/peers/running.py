"""A peer's process as its parent sees it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec

from benchmarks.peers.contender import Place
from benchmarks.peers.telling import Order, Told, Took

PROJECT = Path(__file__).parent.parent.parent


class Failed(Exception):
    """A peer that ended before it answered, with the last that it said."""


class Process:
    """One peer, in the environment that has its packages."""

    def __init__(self, environment: Path, module: str, variant: str, place: Place) -> None:
        self._log = Path(place.folder) / "log"
        paths = [str(PROJECT)]
        if variant.startswith("pyjwt-"):
            paths.insert(0, str(environment / variant))
            variant = "pyjwt"
        command = [str(environment / "bin" / "python"), "-m", "benchmarks.peers.child"]
        with self._log.open("w") as log:
            self._child = subprocess.Popen(
                [*command, module, variant],
                cwd=PROJECT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
            )
        self._say(place)

    def told(self) -> Told:
        """What it is, once it is prepared and proved."""
        return msgspec.json.decode(self._heard(), type=Told)

    def run(self, task: str, times: int) -> float:
        """Seconds."""
        self._say(Order(task, times))
        return msgspec.json.decode(self._heard(), type=Took).seconds

    def close(self) -> None:
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        self._child.stdin.close()
        self._child.wait()
        self._child.stdout.close()

    def _say(self, what: msgspec.Struct) -> None:
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(msgspec.json.encode(what) + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise Failed(self._last_said()) from None

    def _heard(self) -> bytes:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
        if not line:
            raise Failed(self._last_said())
        return line

    def _last_said(self) -> str:
        lines = self._log.read_text().strip().splitlines()
        return lines[-1] if lines else "it said nothing"
