"""The life of a session: created, read, touched, listed, revoked, and told."""

import tempfile
from datetime import timedelta
from pathlib import Path

from sessionledger import Policy, SessionStore


def main() -> None:
    """Run it in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'sessions.db'}"
        policy = Policy(idle_timeout=timedelta(minutes=30))
        with SessionStore.open(url, policy=policy) as store:
            live_and_die(store)


def live_and_die(store: SessionStore) -> None:
    """One session from its beginning to its end."""
    issued = store.create("alice", ttl=timedelta(hours=12), attributes={"role": "operator"})
    print("the bearer keeps  ", issued.token[:10] + "…")
    print("everybody else has", issued.handle[:24] + "…")

    session = store.get(issued.token)
    assert session is not None
    print("live for          ", session.principal, session.attributes)

    store.touch(issued.token, attributes={"role": "viewer"})
    print("live sessions     ", store.count(principal="alice"))

    store.revoke(handle=issued.handle, reason="lost phone", actor="bob")
    print("after revocation  ", store.get(issued.token))

    for entry in store.history(handle=issued.handle):
        print(f"  {entry.event_id} {entry.kind:16}", entry.actor or "-", entry.reason or "-")
    print("the chain holds   ", store.verify().ok)


if __name__ == "__main__":
    main()
