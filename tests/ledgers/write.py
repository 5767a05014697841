"""Writes the ledger, with the `sessionledger` on the path: also one of the first week.

Arguments: the ledger's address. It uses what that version has, and nothing that a later one added.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from sessionledger import SessionStore
from tests.ledgers import SIGNED_OUT, TOKENS, UNTIL

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def main(url: str) -> None:
    """Begin, touch, patch, rotate and end some sessions."""
    with SessionStore.open(url, clock=lambda: NOW) as store:
        for number, token in enumerate(TOKENS):
            principal = "alice" if number % 2 == 0 else "bob"
            store.create(principal, token=token, expires_at=UNTIL, attributes={"number": number})
        for token in TOKENS[:3]:
            later = NOW + timedelta(minutes=5)
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


if __name__ == "__main__":
    main(sys.argv[1])
