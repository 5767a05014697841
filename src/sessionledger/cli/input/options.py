"""The options that commands share."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypedDict

from sessionledger.cli.input import values
from sessionledger.cli.parser import Option

HANDLE_OR_TOKEN = Option("--handle HANDLE", "The session; by token if not given.")
HANDLE = Option("--handle HANDLE", "The session.", required=True)
PRINCIPAL = Option("--principal NAME", "Only sessions of this principal.")
EXTERNAL_ID = Option("--external-id ID", "Only sessions with this name of the application's.")
TREE = Option("--tree", "Show each child below its parent.")
LIMIT = Option("--limit N", "Stop after N.", read=values.whole_number(1))
CURSOR = Option("--after CURSOR", "Go on where a page ended.")
AFTER = Option("--after N", "Begin after event N; 0 for the first.", read=values.whole_number(0))
SINCE = Option(
    "--since TIME", "From then on: 2030-01-31T12:00:00Z, or 24h for a day ago.", read=values.past
)
UNTIL = Option("--until TIME", "Before that time.", read=values.past)
ARCHIVE = Option("--archive DIR", "Read removed events too, from this archive.")

TTL = Option("--ttl SPAN", "How long from now: 12h, 7d.", read=values.duration)
NEW_TTL = Option(
    "--ttl SPAN", "How long from now: 12h, 7d; 0s ends it.", read=values.duration_or_zero
)
EXPIRES_AT = Option(
    "--expires-at TIME", "When it ends: 2030-01-31T12:00:00Z, or never.", read=values.end
)
ATTRIBUTES = Option("--attributes JSON|@FILE", "The session's attributes.", read=values.json_object)

REASON = Option("--reason TEXT", "Why; kept in the history.")
ACTOR = Option("--actor TEXT", "By whom; kept in the history.", variable="SESSIONLEDGER_ACTOR")
CONTEXT = Option(
    "--context KEY=VALUE",
    "Device, address and the like; kept in the history. May be repeated.",
    read=values.key_and_value,
    collect=values.merged,
)
ANNOTATIONS = (REASON, ACTOR, CONTEXT)


class Annotations(TypedDict):
    """What is kept beside an event: the values of `ANNOTATIONS`."""

    reason: str | None
    actor: str | None
    context: dict[str, str] | None


class Ending(Annotations):
    """When a session ends."""

    ttl: timedelta | None
    expires_at: datetime | None


class Renewal(Ending):
    """What a touch may change, too."""

    attributes: dict[str, Any] | None


class Beginning(Renewal):
    """What a session may begin with."""

    idle_timeout: timedelta | None
    absolute_timeout: timedelta | None
