"""Documents about webhook endpoints: as in `schemas`. One answer alone has a secret."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta

from sessionledger.server.http.schemas import KnownName, Stamp
from sessionledger.timestamps import stamp
from sessionledger.webhooks.attempts import Attempt
from sessionledger.webhooks.endpoints import DEFAULT_TYPES, MAX_PRINCIPALS, MAX_URL_CHARS, Endpoint

__all__ = ["Attempt", "EndpointDocument", "EndpointList", "NewEndpoint", "NewEndpointDocument"]

ID_PATTERN = "^[0-9a-f]{12}$"
SECRET_PATTERN = "^whsec_[A-Za-z0-9+/]{43}=$"  # noqa: S105  public, of every secret

Type: TypeAlias = Literal[
    "session.created",
    "session.touched",
    "session.expired",
    "everybody.revoked",
    "selection.revoked",
    "ledger.restored",
]


class NewEndpoint(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An address to tell what happens. after: begin after this event; without it, from now on.

    types, principals: which events it is told; without principals, those of all.
    """

    url: Annotated[str, Meta(min_length=1, max_length=MAX_URL_CHARS)]
    types: Annotated[tuple[Type, ...], Meta(min_length=1, max_length=6)] = DEFAULT_TYPES  # type: ignore[assignment]
    principals: Annotated[list[KnownName], Meta(max_length=MAX_PRINCIPALS)] = []
    # JSON has one kind of numbers: 3 and 3.0 are the same. Ids of events end at 2 ** 53.
    after: Annotated[float, Meta(ge=0, lt=1 << 53, multiple_of=1)] | None = None


class EndpointDocument(msgspec.Struct, kw_only=True):
    """An endpoint, without its secret and without its path, which may hide another.

    failures: failed attempts in a row, of which `problem` is the last.
    """

    id: Annotated[str, Meta(pattern=ID_PATTERN)]
    host: str
    types: tuple[str, ...]
    principals: tuple[str, ...]
    state: Literal["well", "failing", "disabled"]
    failures: int
    problem: str | None
    disabled_at: Stamp | None


class NewEndpointDocument(EndpointDocument, kw_only=True):
    """An endpoint with the secret that signs its messages, which no other answer has."""

    secret: Annotated[str, Meta(pattern=SECRET_PATTERN)]


class EndpointList(msgspec.Struct):
    """All endpoints, in the order they came."""

    endpoints: list[EndpointDocument]


def endpoint_document(endpoint: Endpoint) -> EndpointDocument:
    """An endpoint as clients get it."""
    return EndpointDocument(**_fields(endpoint))


def new_endpoint_document(endpoint: Endpoint) -> NewEndpointDocument:
    """An endpoint as whoever made it gets it."""
    return NewEndpointDocument(**_fields(endpoint), secret=endpoint.secret)


def _fields(endpoint: Endpoint) -> dict[str, Any]:
    fields = {name: getattr(endpoint, name) for name in EndpointDocument.__struct_fields__}
    return fields | {
        "host": endpoint.netloc,
        "disabled_at": endpoint.disabled_at and stamp(endpoint.disabled_at),
    }
