"""The options that commands share, and how their texts are read."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from sessionledger.cli.durations import parse_duration
from sessionledger.cli.opening import LEDGER as LEDGER
from sessionledger.cli.opening import LEDGER_VARIABLE, TOPIC_VARIABLE
from sessionledger.cli.opening import TOPIC as TOPIC

_object = msgspec.json.Decoder(dict[str, Any])


def duration(text: str) -> timedelta:
    """A `--ttl` or `--idle-timeout`."""
    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def duration_or_none(text: str) -> timedelta:
    """A `--grace`, which may be `0s`."""
    return timedelta(0) if text.strip() == "0s" else duration(text)


def instant(text: str) -> datetime:
    """An `--expires-at`, with its offset."""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise typer.BadParameter("a time is written like 2030-01-31T12:00:00Z") from None
    if found.tzinfo is None:
        raise typer.BadParameter("the time needs its offset: Z for UTC, or one like +02:00")
    return found


def attributes(text: str) -> dict[str, Any]:
    """An `--attributes`: a JSON object, or `@` and the file that holds one."""
    try:
        source = Path(text[1:]).read_bytes() if text.startswith("@") else text.encode()
        return _object.decode(source)
    except OSError as error:
        raise typer.BadParameter(f"can't read the file: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise typer.BadParameter(f"attributes are a JSON object: {error}") from None


def context(pairs: list[str] | None) -> dict[str, str] | None:
    """All `--context` together."""
    if not pairs:
        return None
    if not all("=" in pair for pair in pairs):
        raise typer.BadParameter("each --context is key=value")
    return dict(pair.split("=", 1) for pair in pairs)


Ledger = Annotated[
    str,
    typer.Option(
        "--ledger", "-l", envvar=LEDGER_VARIABLE, metavar="URL", help="The ledger: URL or path."
    ),
]
Topic = Annotated[
    str,
    typer.Option(
        "--topic", envvar=TOPIC_VARIABLE, metavar="TOPIC", help="The topic in the ledger."
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Answer in JSON, a line for each record.")]
Handle = Annotated[
    str | None, typer.Option("--handle", metavar="HANDLE", help="By handle instead of by token.")
]
ByHandle = Annotated[
    str | None, typer.Option("--handle", metavar="HANDLE", help="The events of one session.")
]
ByPrincipal = Annotated[
    str | None, typer.Option("--principal", metavar="NAME", help="Those of one principal.")
]
ByExternalId = Annotated[
    str | None,
    typer.Option("--external-id", metavar="ID", help="Those with an id of the application."),
]
Limit = Annotated[int | None, typer.Option("--limit", min=1, metavar="N", help="At most so many.")]
Ttl = Annotated[
    timedelta | None,
    typer.Option("--ttl", parser=duration, metavar="SPAN", help="How long from now: 12h, 7d."),
]
ExpiresAt = Annotated[
    datetime | None,
    typer.Option("--expires-at", parser=instant, metavar="TIME", help="The end, as RFC 3339."),
]
IdleTimeout = Annotated[
    timedelta | None,
    typer.Option(
        "--idle-timeout", parser=duration, metavar="SPAN", help="The end, unless touched: 30m."
    ),
]
AbsoluteTimeout = Annotated[
    timedelta | None,
    typer.Option(
        "--absolute-timeout", parser=duration, metavar="SPAN", help="The end, touched or not: 24h."
    ),
]
ExternalId = Annotated[
    str | None,
    typer.Option("--external-id", metavar="ID", help="The application's own name: an OIDC sid."),
]
Attributes = Annotated[
    dict[str, Any] | None,
    typer.Option(
        "--attributes", parser=attributes, metavar="JSON|@FILE", help="The session's attributes."
    ),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why; kept in the history.")
]
Actor = Annotated[
    str | None, typer.Option("--actor", metavar="TEXT", help="By whom; kept in the history.")
]
Context = Annotated[
    list[str] | None,
    typer.Option(
        "--context", metavar="KEY=VALUE", help="Whence; kept in the history. May be repeated."
    ),
]
