"""One trial of a scenario: its random numbers, its folder, its counts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from sessionledger import SessionStore
from torture.checker import FORGIVEN, faults
from torture.journal import Journal
from torture.ledger import POLICY, observe
from torture.writer import Login, Writer


class Broken(Exception):
    """A promise was broken; the message lists how."""


class Trial:
    """What a scenario gets. `seconds` is how long one that can be of any length should take."""

    def __init__(self, seed: int, folder: Path, seconds: float) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.seconds = seconds
        self.counts: Counter[str] = Counter()
        self.notes: dict[str, str] = {}

    def url(self, log: str) -> str:
        """The address of a ledger in the folder."""
        return url_in(self.folder, log)

    def fail(self, found: Iterable[str]) -> None:
        """Raises `Broken` if there is a fault."""
        listed = list(found)
        if listed:
            more = f"\n  and {len(listed) - 12} more" if len(listed) > 12 else ""
            raise Broken("\n  ".join(["", *listed[:12]]) + more)

    def check(
        self,
        url: str,
        journal: Journal,
        writer: int,
        forgiven: Collection[str] = FORGIVEN,
    ) -> None:
        """Read every session and the whole ledger, and hold both against the journal."""
        with SessionStore.open(url, policy=POLICY) as store:
            reader = Writer(store, journal.recorder(writer), self.rng)
            for handle, token in journal.tokens().items():
                reader.read(Login(token, handle, ""))
            image = observe(store)
        self.counts["answers"] += sum(bool(entry.answer) for entry in journal.entries)
        self.counts["checks"] += 1
        found = faults(journal.entries, image, forgiven)
        if found:
            (self.folder / "journal.jsonl").write_bytes(journal.lines())
        self.fail(found)


Scenario = Callable[[Trial], None]


def url_in(folder: Path, log: str) -> str:
    """The address of a ledger of that log in a folder."""
    return f"sqlite:///{folder}/s.db" if log == "sqlite" else f"file:{folder}/ledger"
