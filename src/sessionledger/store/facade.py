"""What the parts of both stores share: an engine, and the reads that never wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

from sessionledger.core.policy import Policy
from sessionledger.core.session import Session
from sessionledger.errors import LogTimeout
from sessionledger.logs.base import KeyState, Log
from sessionledger.secrecy import without_locals
from sessionledger.store.engine import Engine
from sessionledger.store.operations import authenticate


class Facade:
    """An engine, and the log under it where an event loop need not wait for that log's reads."""

    _engine: Engine
    _log: Log
    _in_place: Log | None
    _look: Callable[[str, bytes], KeyState | None] | None
    """What `peek` asks, which never waits for long."""

    @property
    def policy(self) -> Policy:
        """The limits and default lifetimes of this store."""
        return self._engine.policy

    def on_topic(self, topic: str, *, policy: Policy | None = None) -> Self:
        """A store on another topic of the same ledger, with the same clock. Close it first."""
        self._engine.check_open()
        make: Callable[..., Self] = type(self)
        return make(self._log, policy=policy, clock=self._engine.clock, topic=topic)


class TokenFacade(Facade):
    """The calls by token that are the same in both colours."""

    @without_locals
    def peek(self, token: str | None) -> Session | None:
        """The live session of a token that a client presented, if a read is all that is due.

        For servers that answer most requests without a task: it never waits and never writes.
        None also where a touch is due, and over a log that an event loop has to wait for.
        `authenticate` answers those. With `max_staleness` such a log answers from memory.
        """
        engine, look = self._engine, self._look
        presented = authenticate.presented(engine, token)
        if presented is None or look is None:
            return None
        try:
            found = look(engine.topic, presented[1])
        except LogTimeout:
            return None
        session = engine.live(found, None)
        return session if authenticate.needs_only_a_read(engine, session, None) else None
