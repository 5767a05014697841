"""Parameters of requests: their types, the patterns they must match, and the words for a mismatch.

The version of a session is its entity tag (RFC 9110, sections 8.8.3 and 13.1.1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, TypeAlias

from litestar.params import HeaderParameter, PathParameter, QueryParameter

from sessionledger import HistoryEntry, Page
from sessionledger.server.http.problems import HTTPProblem, invalid

MAX_ID_DIGITS = 18

HANDLE_PATTERN = r"^sha256:v1:[0-9a-f]{64}$"
EVENT_ID_PATTERN = f"^[0-9]{{1,{MAX_ID_DIGITS}}}$"
LAST_EVENT_ID_PATTERN = f"^([0-9]{{1,{MAX_ID_DIGITS}}})?$"
KEY_PATTERN = r"^[\x21-\x7e]{1,255}$"
CURSOR_PATTERN = r"^[A-Za-z0-9_-]+$"
# Of new names: without control characters. White space around a name is not part of it.
_INNER = r"[^\x00-\x1f\x7f-\x9f]"
_OUTER = r"[^\s\x00-\x1f\x7f-\x9f]"
NAME_PATTERN = rf"^[\s\x85]*{_OUTER}({_INNER}*{_OUTER})?[\s\x85]*$"
MAX_NAME_CHARS = 512
_TAG = r'(W/)?"[!#-~]*"'
TAGS_PATTERN = rf"^(\*|({_TAG}( *, *{_TAG})*)?)$"
_STRONG_TAG = re.compile(r'(?<!W/)"([1-9][0-9]{0,17})"')

EXPECTED = {
    HANDLE_PATTERN: "must be a handle: sha256:v1: and 64 lower-case hex digits",
    EVENT_ID_PATTERN: "must be the id of an event, in digits",
    LAST_EVENT_ID_PATTERN: "must be the id of an event, in digits, or empty",
    TAGS_PATTERN: "must be *, or ETags in double quotes",
    KEY_PATTERN: "must be 1 to 255 characters of printable ASCII without spaces",
}
"""What a client is told of a value that does not match a pattern."""


def _name(name: str, *, required: bool) -> QueryParameter:
    """What is looked for may have any characters: another policy may have allowed them."""
    return QueryParameter(name=name, required=required, min_length=1, max_length=MAX_NAME_CHARS)


def _choice(name: str, values: Sequence[str]) -> QueryParameter:
    """One of some words. The library says which there are, to a client that sends another."""
    return QueryParameter(name=name, required=False, schema_extra={"enum": [*values]})


def _header(name: str, pattern: str, description: str) -> HeaderParameter:
    return HeaderParameter(name=name, required=False, pattern=pattern, description=description)


Principal: TypeAlias = Annotated[str, _name("principal", required=True)]
ExternalId: TypeAlias = Annotated[str, _name("external_id", required=True)]
OfPrincipal: TypeAlias = Annotated[str | None, _name("principal", required=False)]
OfExternalId: TypeAlias = Annotated[str | None, _name("external_id", required=False)]
Cursor: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        name="cursor",
        required=False,
        description="The `cursor` of the page before.",
        schema_extra={"pattern": CURSOR_PATTERN},
    ),
]
Handle = Annotated[str, PathParameter(pattern=HANDLE_PATTERN, description="Its public name.")]
Reason: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        name="reason", required=False, max_length=1024, description="Kept in the history."
    ),
]
IfMatch: TypeAlias = Annotated[
    str | None, _header("If-Match", TAGS_PATTERN, "The `ETag` that it must be at.")
]
IdempotencyKey: TypeAlias = Annotated[
    str | None,
    _header(
        "Idempotency-Key",
        KEY_PATTERN,
        "A unique name of this request, printable and without spaces.",
    ),
]
After: TypeAlias = Annotated[
    str | None,
    QueryParameter(
        name="after",
        required=False,
        pattern=EVENT_ID_PATTERN,
        description="Begin with what followed this event; 0 for all.",
    ),
]
OfActor: TypeAlias = Annotated[str | None, QueryParameter(name="actor", required=False)]
OfKind: TypeAlias = Annotated[str | None, _choice("kind", HistoryEntry.KINDS)]
OfCause: TypeAlias = Annotated[str | None, _choice("cause", HistoryEntry.CAUSES)]
Since: TypeAlias = Annotated[
    datetime | None,
    QueryParameter(name="since", required=False, description="RFC 3339, with its offset."),
]
Until: TypeAlias = Annotated[
    datetime | None,
    QueryParameter(name="until", required=False, description="The instant before which it ends."),
]
OfState: TypeAlias = Annotated[str, _choice("state", Page.STATES)]
OfAddress: TypeAlias = Annotated[
    str | None,
    QueryParameter(name="address", required=False, description="An address or a network."),
]
BegunAfter: TypeAlias = Annotated[
    datetime | None,
    QueryParameter(name="begun_after", required=False, description="RFC 3339, with its offset."),
]
BegunBefore: TypeAlias = Annotated[
    datetime | None, QueryParameter(name="begun_before", required=False)
]
NewestFirst: TypeAlias = Annotated[bool, QueryParameter(name="newest_first", required=False)]
MAX_PAGE = 1000
Limit = Annotated[int, QueryParameter(name="limit", ge=1, le=MAX_PAGE)]
LastEventId: TypeAlias = Annotated[
    str | None,
    _header(
        "Last-Event-ID",
        LAST_EVENT_ID_PATTERN,
        "As `after`, from a client that comes back; empty where it saw no event.",
    ),
]


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def versions_in(if_match: str | None) -> frozenset[int] | None:
    """The versions that an `If-Match` names; None where any will do."""
    if if_match in (None, "*"):
        return None
    # A weak tag never matches, nor does a tag that is not a version.
    return frozenset(int(found) for found in _STRONG_TAG.findall(if_match))


def mismatch() -> HTTPProblem:
    """The answer where the session is at none of those versions."""
    return HTTPProblem(
        412, "version_conflict", "the session is at another version", field="If-Match"
    )


def parse_event_id(name: str, id: str | None) -> int | None:
    """The id of an event, from a parameter of that name. Raises `HTTPProblem`."""
    if not id:
        return None
    if not (id.isascii() and id.isdecimal()) or len(id) > MAX_ID_DIGITS:
        raise invalid(name, EXPECTED[EVENT_ID_PATTERN])
    return int(id)
