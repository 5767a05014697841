"""Appending to a ledger of files as the reference does: no turns, nothing published, no chain.

It opens the file, goes by the last line, writes all of its lines at once, and flushes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from sessionledger import LogEvent
from sessionledger.testing.other_process import elsewhere


def append(root: Path, topic: str, events: Sequence[LogEvent]) -> None:
    """Append the events with one write, in this process: it has no part in the ledger."""
    path = root / "topics" / f"{topic}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    last = last_id(path.read_bytes())
    with path.open("ab", buffering=0) as file:
        file.write(b"".join(line(last + n, event) for n, event in enumerate(events, 1)))


def append_elsewhere(root: Path, topic: str, events: Sequence[LogEvent]) -> None:
    """The same in another process."""
    elsewhere(append, root, topic, list(events))


def last_id(text: bytes) -> int:
    lines = text.splitlines()
    return int(json.loads(lines[-1])["id"]) if lines else 0


def line(id: int, event: LogEvent) -> bytes:
    """The line that the reference writes, by another JSON library than ours."""
    told = {
        "kind": event.kind,
        "payload": "PAYLOAD",
        "headers": dict(sorted(event.headers.items())),
        "occurred_at_ms": event.occurred_at_ms,
    }
    text = json.dumps({"id": id, "event": told}, ensure_ascii=False, separators=(",", ":"))
    before, _, after = text.partition('"PAYLOAD"')
    return before.encode() + event.payload + after.encode() + b"\n"
