"""Documents: what clients send and what they get. Those of histories are in `history_schemas`.

Durations are seconds, times RFC 3339.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sessionledger import (
    NEVER,
    Erasure,
    IssuedSession,
    Session,
    Stats,
)
from sessionledger.server.http.parameters import (
    CURSOR_PATTERN,
    HANDLE_PATTERN,
    MAX_NAME_CHARS,
    NAME_PATTERN,
)
from sessionledger.server.http.problems import invalid
from sessionledger.timestamps import stamp

LONGEST = 100 * 366 * 24 * 3600
TOKEN_PATTERN = r"^harn_sess_[A-Za-z0-9_-]{43}$"  # noqa: S105  public, in every token

Seconds: TypeAlias = Annotated[float, Meta(ge=1, le=LONGEST, description="Seconds.")]
Text: TypeAlias = Annotated[str, Meta(max_length=1024)]
KnownName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=MAX_NAME_CHARS)]
HandleText: TypeAlias = Annotated[str, Meta(pattern=HANDLE_PATTERN)]
# The document alone has what is extra: the library says what is wrong with such a text.
Name: TypeAlias = Annotated[KnownName, Meta(extra_json_schema={"pattern": NAME_PATTERN})]
Parent: TypeAlias = Annotated[
    str, Meta(max_length=MAX_NAME_CHARS, extra_json_schema={"minLength": 32})
]
Context: TypeAlias = Annotated[
    dict[str, Text], Meta(extra_json_schema={"propertyNames": {"pattern": "^[ -~]+$"}})
]
Stamp: TypeAlias = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z$",
        description="RFC 3339 in UTC, to the microsecond. Such texts sort as their times.",
        extra_json_schema={"format": "date-time"},
    ),
]
Instant: TypeAlias = Annotated[datetime, Meta(tz=True, description="RFC 3339, with its offset.")]
End: TypeAlias = Annotated[
    str,
    Meta(
        max_length=64,
        description="RFC 3339, with its offset, or `never`.",
        extra_json_schema={"anyOf": [{"format": "date-time"}, {"const": "never"}]},
    ),
]
NewSeconds: TypeAlias = Annotated[
    float, Meta(ge=0, le=LONGEST, description="Seconds; 0 ends the session.")
]


class NewSession(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A session to begin.

    It ends at `expires_at`, or `ttl` seconds from now, or as the service's policy says. parent: the
    handle of a live session, or its token, for a child that does no more and ends with it.
    """

    principal: Name
    ttl: Seconds | None = None
    expires_at: End | None = None
    idle_timeout: Seconds | None = None
    absolute_timeout: Seconds | None = None
    attributes: dict[str, Any] | None = None
    external_id: Name | None = None
    parent: Parent | None = None
    reason: Text | None = None
    context: Context | None = None


class NamedSession(NewSession, kw_only=True):
    """A session to find by its principal and external id, or to begin. It can't be a child."""

    external_id: Name
    parent: None = None


class SessionPatch(msgspec.Struct, forbid_unknown_fields=True):
    """RFC 7396: what is to be merged into a session, whose attributes and end can be patched.

    ttl: its end, in seconds from now.
    """

    attributes: dict[str, Any] = {}
    ttl: NewSeconds | None = None
    expires_at: End | None = None


class Sighting(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """That a session was seen just now. attributes: those in the place of all it has."""

    ttl: NewSeconds | None = None
    expires_at: End | None = None
    attributes: dict[str, Any] | None = None
    reason: Text | None = None
    context: Context | None = None


class Proof(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """That the bearer of a session has just proved again who that is."""

    reason: Text | None = None
    context: Context | None = None


class NewToken(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A token in the place of another.

    principal: who just logged in, where that is somebody else. grace: for how many seconds the old
    token is still good; as the policy says, where it is not given. changes: merged into the
    attributes (RFC 7396).
    """

    principal: Name | None = None
    changes: dict[str, Any] | None = None
    grace: Annotated[float, Meta(ge=0, le=LONGEST, description="Seconds.")] | None = None
    reason: Text | None = None
    context: Context | None = None


class Criteria(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which sessions to end: those that meet all given criteria, of which one is required.

    address_in: a network, `192.0.2.0/24`. dry_run: end none, and count.
    """

    principals: Annotated[list[KnownName], Meta(min_length=1, max_length=1000)] | None = None
    external_id: KnownName | None = None
    begun_before: Instant | None = None
    begun_after: Instant | None = None
    last_seen_before: Instant | None = None
    last_seen_after: Instant | None = None
    address_in: KnownName | None = None
    attributes: dict[str, Any] | None = None
    dry_run: bool = False
    reason: Text | None = None


class ToErase(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Whose sessions to erase: all of a principal, or that of a handle.

    mentions: also blank what others said of the principal.
    """

    principal: KnownName | None = None
    handle: HandleText | None = None
    mentions: bool = False


class MentionDocument(msgspec.Struct):
    """An event of somebody else that says something of an erased person."""

    topic: str
    event_id: int
    handle: HandleText | None
    where: tuple[str, ...]


class ErasureDocument(msgspec.Struct):
    """What was erased, and where something is left: until maintenance or others remove it."""

    sessions: int
    events: int
    guessable: int
    pending: tuple[str, ...]
    remains: tuple[str, ...]
    mentions: list[MentionDocument]


class SessionDocument(msgspec.Struct, kw_only=True):
    """A session. state: `ended` for good, `lapsed` by its end, or `live`. version: its `ETag`.

    cause: what ended it, null where it was not ended. parent: the family of a child's parent.
    """

    handle: HandleText
    principal: str
    state: Literal["live", "lapsed", "ended"]
    version: int
    created_at: Stamp
    last_seen_at: Stamp
    expires_at: Stamp
    deadline: Stamp | None
    ended_at: Stamp | None
    cause: str | None
    authenticated_at: Stamp
    idle_timeout: float | None
    attributes: dict[str, Any]
    context: dict[str, str]
    external_id: str | None
    family: HandleText | None
    parent: HandleText | None
    successors: list[HandleText]


class IssuedDocument(SessionDocument, kw_only=True):
    """A session with its token, which no other answer ever holds."""

    token: Annotated[str, Meta(pattern=TOKEN_PATTERN)]


class SessionPage(msgspec.Struct):
    """Some sessions. cursor: where the next page begins, null after the last."""

    sessions: list[SessionDocument]
    cursor: Annotated[str, Meta(pattern=CURSOR_PATTERN)] | None


class CountsDocument(msgspec.Struct):
    """How many logins there were, as of an instant."""

    live: int
    lapsed: int
    ended: int
    as_of: datetime


class Ended(msgspec.Struct):
    """How many sessions were ended."""

    ended: int


class StatsDocument(msgspec.Struct):
    """How much there is, and whether it stays bounded. sessions counts the ended ones too.

    erased_remains: where PostgreSQL may still have bytes of what was erased; empty elsewhere.
    """

    topic: Annotated[str, Meta(pattern=r"^[A-Za-z0-9._-]+$")]
    events: int
    sessions: int
    live: int
    tombstones: int
    oldest_at: str | None
    consumers: dict[str, int]
    cut: int
    compacted_at: str | None
    erased: int
    erasure_pending: bool
    erased_remains: str
    maintained_at: str | None
    maintained: str | None
    backend: str
    durability: str
    chained: bool


class Health(msgspec.Struct):
    """Whether the service is well."""

    status: Literal["ok"] = "ok"


def session_document(session: Session) -> SessionDocument:
    """A session as clients get it."""
    return SessionDocument(**_fields(session))


def issued_document(issued: IssuedSession) -> IssuedDocument:
    """A session with its token, for whoever made or rotated it."""
    return IssuedDocument(token=issued.token, **_fields(issued))


def erasure_document(found: Erasure) -> ErasureDocument:
    """An erasure as clients get it."""
    mentions = [
        MentionDocument(one.topic, one.event_id, one.handle, one.where) for one in found.mentions
    ]
    told = (found.events, found.guessable, found.pending, found.remains)
    return ErasureDocument(len(found.handles), *told, mentions)


def stats_document(stats: Stats) -> StatsDocument:
    """The statistics, without where the ledger lies."""
    run, log = stats.maintained, stats.log
    known = {
        name: plain_value(getattr(stats, name))
        for name in StatsDocument.__struct_fields__
        if hasattr(stats, name)
    }
    return StatsDocument(
        **known
        | {"maintained_at": run and stamp(run.at), "maintained": run and run.outcome}
        | {"erased_remains": log.details.get("erased_remains", "")}
        | {"backend": log.backend, "durability": log.durability, "chained": log.chained}
    )


def span(seconds: float | None) -> timedelta | None:
    """Seconds as the store takes them."""
    return None if seconds is None else timedelta(seconds=seconds)


def end(text: str | None) -> datetime | None:
    """The end of a session as the store takes it. Raises `HTTPProblem`."""
    if text in (None, "never"):
        return None if text is None else NEVER
    try:
        return msgspec.convert(text, Instant)
    except msgspec.ValidationError:
        pass
    raise invalid("expires_at", "must be RFC 3339 with its offset, or never")


def _fields(session: Session) -> dict[str, Any]:
    taken = ("state", "successors", "token")
    fields = {
        name: plain_value(getattr(session, name))
        for name in SessionDocument.__struct_fields__
        if name not in taken
    }
    return fields | {
        "state": _state(session),
        "successors": list(session.successors),
    }


def _state(session: Session) -> str:
    if session.ended_at is not None:
        return "ended"
    return "lapsed" if session.is_expired_at(datetime.now(UTC)) else "live"


def plain_value(value: Any) -> Any:
    """A value as JSON has it: times as texts, spans as seconds."""
    match value:
        case datetime():
            return stamp(value)
        case timedelta():
            return value.total_seconds()
    return value
