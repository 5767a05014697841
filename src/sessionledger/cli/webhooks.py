"""The commands about webhooks: add, list, enable and remove endpoints, and deliver to them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from sessionledger import Log, SessionStore, open_log
from sessionledger.cli import options
from sessionledger.cli.exits import (
    MEANINGS,
    UNAVAILABLE,
    USAGE,
    Failure,
    unknown,
    warn,
)
from sessionledger.cli.opening import existing, open_events, path_in
from sessionledger.cli.present import Record, on_terminal, show, show_all, write
from sessionledger.webhooks.endpoints import (
    DEFAULT_TYPES,
    Endpoint,
    EndpointFile,
    InvalidEndpoint,
    UnsafeFile,
    new_endpoint,
    succeeded,
)
from sessionledger.webhooks.location import file_beside
from sessionledger.webhooks.messages import TYPES

MISSING = "webhooks need a package that is not installed: pip install 'sessionledger[webhooks]'"
TITLES = {
    "id": "id",
    "host": "host",
    "types": "types",
    "principals": "principals",
    "state": "state",
    "failures": "failures",
    "problem": "problem",
}

app = typer.Typer(
    name="webhooks", help="Tell addresses on the web what happens to sessions.", epilog=MEANINGS
)

Url = Annotated[str, typer.Argument(metavar="URL", help="Where to: https://host/path.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="Which one, as `list` shows it.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", metavar="TYPE", help=f"May be repeated: {', '.join(TYPES)}."),
]
Principals = Annotated[
    list[str] | None,
    typer.Option("--principal", metavar="NAME", help="Only of this one. May be repeated."),
]
Allow = Annotated[
    str | None,
    typer.Option(
        "--allow", metavar="HOST", help="Its host may be private, or loopback, or without TLS."
    ),
]
After = Annotated[
    int | None,
    typer.Option("--after", min=0, metavar="N", help="First what followed this event; 0 for all."),
]
File = Annotated[
    Path | None,
    typer.Option(
        "--file",
        envvar="SESSIONLEDGER_WEBHOOKS",
        metavar="PATH",
        help="Where endpoints are kept; beside the ledger if not said.",
    ),
]


@app.command(epilog=MEANINGS)
def add(
    url: Url,
    type: Types = None,
    principal: Principals = None,
    allow: Allow = None,
    after: After = None,
    file: File = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Tell an address what happens from now on, and print the secret that signs it."""
    with closing(open_events(ledger)) as log, _told():
        endpoint = new_endpoint(url, type or DEFAULT_TYPES, principal or (), allow)
        log.ack(topic, endpoint.consumer, _beginning(log, topic, after))
        _file(ledger, file).add(endpoint)
    if json or on_terminal():
        show({**_record(endpoint), "secret": endpoint.secret}, json)
    else:
        write(endpoint.secret)


def _beginning(log: Log, topic: str, after: int | None) -> int:
    """The event to begin after. Raises `InvalidSession` for one that no watch could begin after."""
    with SessionStore(log, topic=topic) as store:
        if after is None:
            return store.head().id
        next(store.watch(after=after))
        return after


@app.command("list", epilog=MEANINGS)
def list_(
    file: File = None, ledger: options.Ledger = options.LEDGER, json: options.Json = False
) -> None:
    """Show the endpoints, and which of them were disabled, since when and why."""
    with _told():
        endpoints = _file(ledger, file).read()
    show_all(map(_record, endpoints), TITLES, json)


@app.command(epilog=MEANINGS)
def enable(id: Id, file: File = None, ledger: options.Ledger = options.LEDGER) -> None:
    """Try an endpoint again at once, also one that was disabled: from where it was left."""
    with _told():
        if not _file(ledger, file).record(id, succeeded):
            raise unknown("id")


@app.command(epilog=MEANINGS)
def remove(id: Id, file: File = None, ledger: options.Ledger = options.LEDGER) -> None:
    """Tell an endpoint no more, and forget its secret."""
    with _told():
        if not _file(ledger, file).remove(id):
            raise unknown("id")


@app.command(epilog=MEANINGS)
def deliver(
    file: File = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
) -> None:
    """Deliver until it is interrupted. `serve` does so by itself."""
    with _told():
        path = _file(ledger, file)
        path.read()
    print(f"delivering to the endpoints in {path.path}", file=sys.stderr, flush=True)
    try:
        from sessionledger.webhooks.dispatcher import deliver_to_all
    except ModuleNotFoundError:
        raise Failure(USAGE, "missing", MISSING) from None
    with closing(open_log(existing(ledger))) as log, suppress(KeyboardInterrupt):
        deliver_to_all(log, topic, path, warn)


def _file(ledger: str, given: Path | None) -> EndpointFile:
    if given is not None:
        return EndpointFile(given)
    path = path_in(existing(ledger))
    if not path:
        raise Failure(USAGE, "no_file", "this ledger has no folder: say --file")
    return EndpointFile(file_beside(Path(path)))


@contextmanager
def _told() -> Iterator[None]:
    """What is wrong with an endpoint or with its file, as the end of the command."""
    try:
        yield
    except InvalidEndpoint as error:
        raise Failure(USAGE, "invalid_endpoint", str(error)) from None
    except UnsafeFile as error:
        raise Failure(UNAVAILABLE, "unsafe_file", str(error)) from None


def _record(endpoint: Endpoint) -> Record:
    """An endpoint without its secret, and without what an address may hide in its path."""
    return {
        "id": endpoint.id,
        "host": urlsplit(endpoint.url).netloc,
        "types": list(endpoint.types),
        "principals": list(endpoint.principals),
        "state": _state(endpoint),
        "failures": endpoint.failures,
        "problem": endpoint.problem,
        "disabled_at": endpoint.disabled_at,
    }


def _state(endpoint: Endpoint) -> str:
    if endpoint.disabled_at is not None:
        return "disabled"
    return "failing" if endpoint.failures else "well"
