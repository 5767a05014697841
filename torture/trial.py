"""One trial of a scenario: its random numbers, its folder, its counts."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from sessionledger import Session, SessionLedgerError, SessionStore
from torture.checker import FORGIVEN, changed, faults
from torture.journal import Journal
from torture.ledger import POLICY, observe
from torture.postgres import server
from torture.processes import Crew
from torture.writer import Login, Writer

SHORT = 60
"""Seconds of a run that tries everything once or twice."""
_TOKEN = re.compile(rb"harn_sess_[A-Za-z0-9_-]{43}")


class Broken(Exception):
    """A promise was broken; the message lists how."""


class Trial:
    """What a scenario gets. In a short run, of `seconds` in all, its trials are smaller."""

    def __init__(self, seed: int, folder: Path, seconds: float) -> None:
        self.rng = random.Random(seed)
        self.folder = folder
        self.seconds = seconds
        self.counts: Counter[str] = Counter()
        self.notes: dict[str, str] = {}
        self._uses_server = False

    def url(self, log: str) -> str:
        """The address of a ledger in the folder."""
        self._uses_server = log == "postgresql"
        return url_in(self.folder, log)

    def size(self, usual: int) -> int:
        """How often something is done: as usual, or a quarter of it in a short run."""
        return usual if self.seconds >= SHORT else max(1, usual // 4)

    def crew(self) -> Crew:
        """Writers that print into the folder."""
        return Crew(self.rng, self.folder)

    @contextmanager
    def explained(self, when: str) -> Iterator[None]:
        """Say under which conditions a promise was broken."""
        try:
            yield
        except Broken as broken:
            raise Broken(f" {when}{broken}") from broken
        except SessionLedgerError as error:
            raise Broken(f" {when}\n  it can't be read: {error!r}") from error

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
        older: Mapping[str, Session] | None = None,
        archive: Path | None = None,
    ) -> None:
        """Read every session and the whole ledger, and hold both against the journal.

        older: sessions from before the journal, which nobody changes. archive: where the events
        are that were removed.
        """
        self.wait_for_the_dead()
        with SessionStore.open(url, policy=POLICY) as store:
            reader = Writer(store, journal.recorder(writer), self.rng)
            for handle, token in journal.tokens().items():
                reader.read(Login(token, handle, ""))
            image = observe(store, archive)
        self.counts["answers checked"] += sum(bool(entry.answer) for entry in journal.entries)
        self.counts["whole ledgers checked"] += 1
        is_compacted = any(entry.call == "compact" for entry in journal.entries)
        found = changed(image, older or {}, is_compacted=is_compacted)
        found += faults(journal.entries, image, forgiven) + self.tokens_found(
            journal.tokens().values(), "".join(entry.said for entry in journal.entries)
        )
        if found:
            (self.folder / "journal.jsonl").write_bytes(journal.lines())
        self.fail(found)

    def wait_for_the_dead(self) -> None:
        """Wait until a server has noticed which processes were killed."""
        if self._uses_server:
            server().wait_for_the_dead()

    def tokens_found(self, made: Iterable[str], said: str) -> list[str]:
        """Where a token stands among all bytes that were written, printed, logged or said."""
        tokens = {token.encode() for token in made}
        texts = {"what was said": said.encode()}
        for path in self._searched():
            with suppress(FileNotFoundError):  # a server removes files of its own
                texts[str(path)] = path.read_bytes()
        self.counts["bytes searched"] += sum(map(len, texts.values()))
        self.counts["tokens searched for"] += len(tokens)
        return [
            f"a token stands in {name}"
            for name, text in texts.items()
            if not tokens.isdisjoint(_TOKEN.findall(text))
        ]

    def _searched(self) -> Iterator[Path]:
        folders = [self.folder]
        if self._uses_server:
            server().execute("CHECKPOINT")
            folders.append(server().folder)
        for folder in folders:
            yield from (path for path in folder.rglob("*") if path.is_file())


Scenario = Callable[[Trial], None]


def url_in(folder: Path, log: str) -> str:
    """The address of a ledger of that log in a folder."""
    if log == "postgresql":
        return server().url(f"at_{sha256(bytes(folder)).hexdigest()[:16]}")
    return f"sqlite:///{folder}/s.db" if log == "sqlite" else f"file:{folder}/ledger"
