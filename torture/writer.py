"""A writer: it makes every call that the store has, in random order, and tells the journal."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

from sessionledger import SessionStore
from sessionledger.core.token import digest, handle_of, issue
from torture.journal import Recorder

TTL = timedelta(days=7)
RETENTION = timedelta(hours=48)
AT_ONCE = timedelta(0)


class Login(NamedTuple):
    """A session that a writer works with."""

    token: str
    handle: str
    principal: str
    is_child: bool = False


# How often each call is made, compared with the others.
USUAL = {
    "create": 8, "child": 3, "patch": 10, "touch": 4, "get": 10, "authenticate": 4, "find": 2,
    "rotate": 5, "expire": 3, "revoke": 2, "change_credentials": 1, "log_out": 1,
    "revoke_all": 1, "revoke_where": 1, "sweep": 1, "reuse": 1, "revoke_everybody": 0.1,
    "rebuild": 0.2, "listing": 1,
}  # fmt: skip


class Writer:
    """Calls by one process.

    others: sessions that other writers work with too. archive: where `compact` archives.
    """

    def __init__(
        self,
        store: SessionStore,
        recorder: Recorder,
        rng: random.Random,
        others: Sequence[Login] = (),
        archive: Path | None = None,
    ) -> None:
        self._store = store
        self._archive = archive
        self._recorder = recorder
        self._rng = rng
        self._logins = list(others)
        self._replaced: list[Login] = []
        self._value = 0
        self._name = f"w{recorder.writer}"

    @property
    def newest(self) -> Login:
        """The session that was begun last."""
        return self._logins[-1]

    def work(self, weights: dict[str, float], calls: int | None = None) -> None:
        """Make so many calls, or call until the process ends."""
        names, shares = list(weights), list(weights.values())
        done = 0
        while calls is None or done < calls:
            done += 1
            (name,) = self._rng.choices(names, shares)
            call: Callable[[], None] = getattr(self, name)
            call()

    def create(self, principal: str | None = None, parent: Login | None = None) -> None:
        token = issue(self._rng.randbytes(32))
        login = Login(token, handle_of(digest(token)), principal or self._principal(), bool(parent))
        about = {"handle": login.handle, "principal": login.principal, "token": str(token)}
        if parent is not None:
            about["parent"] = parent.handle
        with self._recorder.call("create", **about) as answer:
            if parent is not None:
                answer.session(
                    self._store.create(login.principal, token=token, parent=parent.token)
                )
            else:
                note = {"note": "x" * self._rng.choice([0, 10, 300, 3000, 9000])}
                answer.session(
                    self._store.create(login.principal, token=token, ttl=TTL, attributes=note)
                )
        self._logins.append(login)

    def child(self) -> None:
        if parent := self._some():
            self.create(f"agent of {parent.principal}", parent)

    def get(self) -> None:
        if login := self._any():
            self.read(login)

    def read(self, login: Login) -> None:
        """Read one session by its token."""
        with self._recorder.call("get", handle=login.handle) as answer:
            answer.session(self._store.get(login.token))

    def find(self) -> None:
        if login := self._any():
            with self._recorder.call("find", handle=login.handle) as answer:
                answer.session(self._store.find(handle=login.handle))

    def authenticate(self) -> None:
        if login := self._some():
            # It may end the family: another writer may have rotated the token meanwhile.
            with self._recorder.call("authenticate", handle=login.handle) as answer:
                answer.session(self._store.authenticate(login.token))

    def listing(self) -> None:
        with self._recorder.call("listing") as answer:
            answer.done(sum(1 for _ in self._store.sessions(principal=self._principal())))

    def patch(self) -> None:
        login = self._some()
        if login is None or login.is_child:
            return
        self._value += 1
        with self._recorder.call("patch", handle=login.handle, value=self._value) as answer:
            answer.session(self._store.patch(login.token, {self._name: self._value}))

    def touch(self) -> None:
        if login := self._some():
            with self._recorder.call("touch", handle=login.handle) as answer:
                answer.session(self._store.touch(login.token))

    def rotate(self) -> None:
        login = self._take()
        if login is None:
            return
        issued = None
        about = {"handle": login.handle, "principal": login.principal}
        with self._recorder.call("rotate", **about) as answer:
            issued = self._store.rotate(login.token, grace=AT_ONCE)
            answer.issued(issued, issued.token if issued else "")
        if issued is not None:
            self._replaced.append(login)
            self._logins.append(login._replace(token=issued.token, handle=issued.handle))

    def change_credentials(self) -> None:
        login = self._take()
        if login is None or login.is_child:
            return
        issued = None
        about = {"handle": login.handle, "principal": login.principal}
        with self._recorder.call("change_credentials", **about) as answer:
            issued = self._store.change_credentials(login.token)
            answer.issued(issued, issued.token if issued else "")
        if issued is not None:
            self._logins.append(login._replace(token=issued.token, handle=issued.handle))

    def reuse(self) -> None:
        if self._replaced:
            login = self._replaced.pop(self._rng.randrange(len(self._replaced)))
            with self._recorder.call("reuse", handle=login.handle) as answer:
                answer.session(self._store.authenticate(login.token))

    def expire(self) -> None:
        if login := self._some():
            with self._recorder.call("expire", handle=login.handle) as answer:
                self._store.expire(login.token)
                answer.done()

    def revoke(self) -> None:
        if login := self._some():
            with self._recorder.call("revoke", handle=login.handle) as answer:
                self._store.revoke(handle=login.handle)
                answer.done()

    def log_out(self) -> None:
        login = self._some()
        if login is None or login.is_child:
            return
        with self._recorder.call("log_out", handle=login.handle, principal=login.principal) as a:
            a.done(self._store.log_out_everywhere(login.token))

    def revoke_all(self) -> None:
        principal = self._principal()
        with self._recorder.call("revoke_all", principal=principal) as answer:
            answer.done(self._store.revoke_all(principal))

    def revoke_where(self) -> None:
        principal = self._principal()
        with self._recorder.call("revoke_where", principal=principal) as answer:
            answer.done(self._store.revoke_where(principals=[principal]))

    def revoke_everybody(self) -> None:
        with self._recorder.call("revoke_everybody") as answer:
            self._store.revoke_everybody()
            answer.done()

    def sweep(self) -> None:
        with self._recorder.call("sweep") as answer:
            answer.done(self._store.sweep())

    def rebuild(self) -> None:
        with self._recorder.call("rebuild") as answer:
            answer.done(self._store.rebuild())

    def compact(self) -> None:
        """Remove the events that are older than `RETENTION`, where there are any."""
        with self._recorder.call("compact") as answer:
            done = self._store.compact(retention=RETENTION, archive=self._archive)
            answer.done(done.events)

    def _principal(self) -> str:
        return f"p{self._recorder.writer % 3}-{self._rng.randrange(4)}"

    def _some(self) -> Login | None:
        return self._rng.choice(self._logins[-20:]) if self._logins else None

    def _any(self) -> Login | None:
        return self._rng.choice(self._logins) if self._logins else None

    def _take(self) -> Login | None:
        """A login, which this writer no longer works with."""
        login = self._some()
        if login is not None:
            self._logins.remove(login)
        return login
