"""Runs of the command line: its arguments and streams in, what it printed and its exit code out.

Most run in this process, which is ten times as fast; `Line.process` and `Line.start` are real.
"""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from sessionledger import Policy, SessionStore
from sessionledger.cli.main import main

COMMANDS = (
    *("create", "get", "authenticate", "reauthenticate", "touch", "patch", "rotate"),
    *("expire", "revoke", "revoke-all", "revoke-where", "revoke-everybody", "erase", "sweep"),
    *("sessions", "history", "activity", "as-of", "watch", "events"),
    *("head", "verify", "rebuild", "stats", "doctor"),
)
COMMAND = [sys.executable, "-m", "sessionledger.cli"]


class Answer(msgspec.Struct, frozen=True):
    code: int
    out: str
    err: str

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def record(self) -> dict[str, Any]:
        (record,) = self.records
        return record

    @property
    def rows(self) -> list[list[str]]:
        return [line.split("\t") for line in self.out.splitlines()]

    @property
    def row(self) -> list[str]:
        (row,) = self.rows
        return row


class Line:
    """A command line in a folder, whose ledger is the default one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *arguments: str, given: str | bytes = "", **variables: str) -> Answer:
        out, err = _stream(b""), _stream(b"")
        with (
            chdir(self.folder),
            patch.dict(os.environ, self.environment(**variables), clear=True),
            patch.multiple(sys, stdin=_stream(_bytes(given)), stdout=out, stderr=err),
        ):
            code = _code_of(arguments)
        return Answer(code, _written(out), _written(err))

    def process(self, *arguments: str, given: str | bytes = "", **variables: str) -> Answer:
        done = subprocess.run(
            [*COMMAND, *arguments],
            input=_bytes(given),
            capture_output=True,
            cwd=self.folder,
            env=self.environment(**variables),
            check=False,
            timeout=60,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def program(self, program: str, *arguments: str) -> Answer:
        """A Python program in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments],
            capture_output=True,
            cwd=self.folder,
            env=self.environment(),
            check=False,
            timeout=60,
        )
        return Answer(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env=self.environment(**variables),
        )

    def environment(self, **variables: str) -> dict[str, str]:
        """Nothing of ours, and no size of a screen, is taken over from who runs the tests."""
        theirs = [name for name in os.environ if name.startswith("SESSIONLEDGER_")]
        ours = os.environ.keys() - {*theirs, "COLUMNS", "LINES"}
        return {name: os.environ[name] for name in ours} | variables

    def create_unchecked(self, principal: str, **said: Any) -> str:
        """The handle of a session for a principal that the command line would refuse."""
        policy = Policy(confusable_principals=True)
        with SessionStore.open(f"sqlite:///{self.folder / 'sessions.db'}", policy=policy) as store:
            return store.create(principal, **said).handle

    def create(self, principal: str = "alice", *options: str) -> tuple[str, str]:
        """A new session: its token and its handle."""
        answer = self("create", principal, *options, "--json")
        assert answer.code == 0, answer.err
        return answer.record["token"], answer.record["handle"]


def _code_of(arguments: tuple[str, ...]) -> int:
    handler = signal.getsignal(signal.SIGINT)
    try:
        return main(arguments)
    finally:
        signal.signal(signal.SIGINT, handler)  # an event loop in this process leaves its own


def _bytes(given: str | bytes) -> bytes:
    return given.encode() if isinstance(given, str) else given


def _stream(content: bytes) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", newline="\n")


def _written(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()
