"""What the parent and a peer's process tell each other."""

from __future__ import annotations

import msgspec

from benchmarks.peers.contender import Promises


class Told(msgspec.Struct, frozen=True):
    """What a peer is, and the tasks that it has."""

    name: str
    version: str
    promises: Promises
    measured: dict[str, str]
    tasks: list[str]


class Order(msgspec.Struct, frozen=True):
    """Do this, so many times."""

    task: str
    times: int


class Took(msgspec.Struct, frozen=True):
    seconds: float
