"""Where things stand in a ledger of files, and logs and stores on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sessionledger import SessionStore
from sessionledger.logs.file import FileLog
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.testing.conformance.compaction import compact
from sessionledger.testing.fixtures import FOLD, TOPIC


def topic_file(root: Path, topic: str = TOPIC) -> Path:
    return root / "topics" / f"{topic}.jsonl"


def checkpoint_file(root: Path, topic: str = TOPIC) -> Path:
    return root / "checkpoints" / f"{topic}.checkpoint"


def durable_file(root: Path, topic: str = TOPIC) -> Path:
    return root / "durable" / topic


def sessions_file(root: Path) -> Path:
    return topic_file(root, SESSIONS_TOPIC)


def url_of(root: Path) -> str:
    return f"file://{quote(str(root))}"


@contextmanager
def opened(root: Path, **settings: str) -> Iterator[FileLog]:
    """A log on the ledger, with the tests' fold."""
    log = FileLog(root, **settings)  # type: ignore[arg-type]  # durability only
    log.fold_with(TOPIC, FOLD)
    try:
        yield log
    finally:
        log.close()


def coming_file(root: Path, topic: str = TOPIC) -> Path:
    return root / "checkpoints" / f"{topic}.next"


def compact_all(root: Path) -> int:
    """Remove all events of the topic, in a log of its own; the id of the seal."""
    with opened(root) as log:
        compact(log, log.latest(TOPIC))
        return log.latest(TOPIC)


@contextmanager
def store_on(root: Path) -> Iterator[SessionStore]:
    with SessionStore.open(url_of(root)) as store:
        yield store
