"""Writes the ledger, with the `sessionledger` on the path: also one of the first week.

Arguments: the ledger's address, and `compacted` to have it compacted a hundred days later. It uses
what that version has, and nothing that a later one added.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from sessionledger import SessionStore
from tests.ledgers import SIGNED_OUT, TOKENS, UNTIL

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=100)


def main(url: str, now: datetime) -> None:
    """Begin, touch, patch, rotate and end some sessions."""
    with SessionStore.open(url, clock=lambda: now) as store:
        for number, token in enumerate(TOKENS):
            principal = "alice" if number % 2 == 0 else "bob"
            store.create(principal, token=token, expires_at=UNTIL, attributes={"number": number})
        for token in TOKENS[:3]:
            later = now + timedelta(minutes=5)
            store.touch(token, last_seen_at=later, attributes={"seen": "ä"})
        store.expire(TOKENS[SIGNED_OUT])
        # Versions before the sixth day lack some of these.
        if hasattr(store, "patch"):
            store.patch(TOKENS[0], {"patched": True})
        if hasattr(store, "rotate"):
            store.rotate(TOKENS[4], grace=timedelta(0))
        if hasattr(store, "revoke_everybody"):
            store.revoke_everybody(reason="to have a mark")
            store.create("carol", token="a-token-after-the-mark-that-is-long", expires_at=UNTIL)


def compact(url: str) -> None:
    """Remove all events but the newest ones. One session is forgotten, others leave tombstones."""
    with SessionStore.open(url, clock=lambda: LONG_AGO + timedelta(minutes=10)) as store:
        store.expire(store.create("dave", expires_at=UNTIL).token)
        store.sweep()
    with SessionStore.open(url, clock=lambda: NOW) as store:
        store.create("erin", expires_at=UNTIL)
        store.compact(retention=timedelta(days=90))
        store.create("frank", expires_at=UNTIL)


if __name__ == "__main__":
    is_compacted = "compacted" in sys.argv[2:]
    main(sys.argv[1], LONG_AGO if is_compacted else NOW)
    if is_compacted:
        compact(sys.argv[1])
