"""What a store should answer, told with plain dicts and none of the store's own code."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

TTL = timedelta(hours=1)
IDLE = timedelta(minutes=20)


@dataclass
class Known:
    """A session as the model has it."""

    principal: str
    created: int
    expires_at: datetime
    deadline: datetime | None
    last_seen_at: datetime
    attributes: dict[str, Any] = field(default_factory=dict)
    ended_at: datetime | None = None

    def live(self, at: datetime) -> bool:
        return self.ended_at is None and at < self.expires_at


class Model:
    """Sessions by their token, and how many events that took."""

    def __init__(self, *, slides: bool) -> None:
        self.slides = slides
        self.sessions: dict[str, Known] = {}
        self.events = 0

    def create(
        self, token: str, principal: str, now: datetime, end: datetime | None, attributes: Any
    ) -> None:
        self.events += 1
        latest = now + TTL if end is None else end
        self.sessions[token] = Known(
            principal=principal,
            created=self.events,
            expires_at=min(latest, now + IDLE) if self.slides else latest,
            deadline=latest if self.slides else None,
            last_seen_at=now,
            attributes=attributes,
        )

    def touch(
        self, token: str, now: datetime, seen: datetime | None, end: datetime | None, new: Any
    ) -> bool:
        """Whether the session was live and is touched."""
        known, at = self.sessions[token], now if seen is None else seen
        if not known.live(at):
            return False
        self.events += 1
        known.last_seen_at = max(known.last_seen_at, at)
        if new is not None:
            known.attributes = new
        if end is None and seen is None and self.slides:
            end = max(known.expires_at, at + IDLE)
        if end is not None:
            known.expires_at = end if known.deadline is None else min(end, known.deadline)
        return True

    def expire(self, token: str, now: datetime, at: datetime | None) -> None:
        known = self.sessions[token]
        if known.ended_at is not None and at is None:
            return
        self.events += 1
        moment = now if at is None else at
        known.ended_at = moment if known.ended_at is None else min(known.ended_at, moment)
        known.expires_at = min(known.expires_at, moment)

    def of(self, principal: str | None, now: datetime | None) -> list[str]:
        """The tokens of a principal, or of all, oldest first; all or those live now."""
        found = [
            (known.created, token)
            for token, known in self.sessions.items()
            if principal in (None, known.principal) and (now is None or known.live(now))
        ]
        return [token for _, token in sorted(found)]
