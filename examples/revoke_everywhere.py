"""Two processes on one ledger: what one revokes, the other's next read refuses.

The parent is the service, which gets requests with tokens. The child is the operator, who ends
all sessions of a principal by their handles and never sees a token.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from sessionledger import SessionStore

OPERATOR = "--operator"


def serve(url: str) -> None:
    """Create two sessions, have another process revoke them, and read again."""
    with SessionStore.open(url) as store:
        tokens = [store.create("alice", context={"device": d}).token for d in ("phone", "laptop")]
        other = store.create("carol").token
        print("service: live before:", [store.get(token) is not None for token in tokens])
        subprocess.run([sys.executable, __file__, OPERATOR, url], check=True)
        print("service: live after: ", [store.get(token) is not None for token in tokens])
        print("service: carol is untouched:", store.get(other) is not None)
        print("service: ended by:", {e.actor for e in store.history(principal="alice") if e.actor})


def operate(url: str) -> None:
    """End every session of alice."""
    with SessionStore.open(url) as store:
        for session in store.sessions(principal="alice"):
            store.revoke(handle=session.handle, reason="account closed", actor="operator")
            print("operator: revoked", session.handle[:24] + "…", flush=True)


def main() -> None:
    """The operator where called as one, else the service in a folder of its own."""
    if OPERATOR in sys.argv:
        operate(sys.argv[-1])
        return
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    with tempfile.TemporaryDirectory() as folder:
        serve(f"sqlite:///{Path(folder) / 'sessions.db'}")


if __name__ == "__main__":
    main()
