"""A visitor logs in, proves it again where it matters, renews the token, logs out everywhere."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sessionledger import ANONYMOUS, Policy, ReauthenticationRequired, SessionStore

FRESH = timedelta(minutes=5)


class Clock:
    """Time passes when it is told to, so that the example need not wait."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now


def log_in(store: SessionStore, visitor: str) -> str:
    """The visitor's token for one of alice's: against fixation, nothing links the two."""
    issued = store.rotate(visitor, principal="alice", grace=timedelta(0), reason="login")
    assert issued is not None
    print("the visitor's token  ", store.authenticate(visitor))
    print("alice, with a basket ", issued.attributes)
    return issued.token


def change_password(store: SessionStore, token: str) -> str:
    """Ask for a fresh proof, then give a new token and end all other sessions, in one unit."""
    try:
        store.authenticate(token, max_auth_age=FRESH)
    except ReauthenticationRequired as refusal:
        print("before it matters    ", refusal.code)
    store.reauthenticate(token, reason="passkey")
    renewed = store.change_credentials(token, reason="password changed")
    assert renewed is not None
    print("the old token        ", store.authenticate(token))
    print(
        "still signed in      ", store.authenticate(renewed.token, max_auth_age=FRESH) is not None
    )
    print("sessions of alice    ", store.count(principal="alice"))
    return renewed.token


def main() -> None:
    """Run it in a folder of its own."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'sessions.db'}"
        with SessionStore.open(url, policy=Policy.aal2(), clock=clock) as store:
            visitor = store.create(ANONYMOUS, attributes={"basket": ["tea"]})
            store.create("alice", context={"device": "an old phone"})
            token = log_in(store, visitor.token)
            clock.now += timedelta(minutes=30)
            token = change_password(store, token)
            print("logged out everywhere", store.log_out_everywhere(token, reason="signed out"))
            for entry in store.history(principal="alice"):
                print(f"  {entry.event_id:2} {entry.kind:16}", entry.reason or "-")


if __name__ == "__main__":
    main()
