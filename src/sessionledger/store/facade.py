"""What every part of both stores rests on."""

from __future__ import annotations

from typing import TypeVar

from sessionledger.core.codec import decode_session
from sessionledger.core.session import Session
from sessionledger.logs.base import KeyState, Log
from sessionledger.store.engine import Engine
from sessionledger.store.operations import authenticate
from sessionledger.store.peek import Excerpt

T = TypeVar("T")


class Part:
    """An engine, and the log that it is over, where that answers reads in place: over another,
    an event loop has to wait for the engine's."""

    _engine: Engine
    _log: Log
    _in_place: Log | None


class Settled(Part):
    """What servers ask that answer most requests in place."""

    def settled(self, token: str | None) -> Session | None:
        """The live session of a token that a client presented, if that is all there is to say.

        For servers that answer most requests in place: it waits for nothing and writes nothing.
        None where a touch is due as well as for whatever is not live, which `authenticate` tells
        apart; and over a ledger that an event loop has to wait for.
        """
        row = self._settled(token)
        return None if row is None else decode_session(row[0], row[2])

    def excerpt(self, token: str | None, excerpt: Excerpt[T]) -> T | None:
        """What an excerpt takes out of the session that `settled` would answer.

        It is kept, and taken again only from a session that has changed.
        """
        row = self._settled(token)
        return None if row is None else excerpt.of_rows[row]

    def _settled(self, token: str | None) -> KeyState | None:
        engine = self._engine
        presented = authenticate.presented(engine, token)
        if presented is None or self._in_place is None:
            return None
        found = self._in_place.state(engine.topic, presented[1])
        if found is None or engine.nanoseconds() >= engine.settled_until[found]:
            return None
        return found
