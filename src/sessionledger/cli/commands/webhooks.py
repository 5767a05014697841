"""The commands about webhooks: add, list, enable and remove endpoints, and deliver to them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

from sessionledger import Log, SessionStore, parse_url
from sessionledger.cli.exit_codes import UNAVAILABLE, USAGE, Failure, unknown
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import JSON, LEDGER, TOPIC, Ledger, ledger_command
from sessionledger.cli.output.answers import columns, show, show_all
from sessionledger.cli.output.errors import tell, warn
from sessionledger.cli.output.formatting import Record
from sessionledger.cli.output.records import fields
from sessionledger.cli.output.stdout import on_terminal, write
from sessionledger.cli.parser import Option, appended, command
from sessionledger.webhooks import endpoints
from sessionledger.webhooks.endpoints import Endpoint, EndpointFile
from sessionledger.webhooks.location import endpoint_file
from sessionledger.webhooks.messages import TYPES

MISSING = "webhooks need a package that is not installed: pip install 'sessionledger[webhooks]'"
TITLES = columns("id, host, types, principals, state, failures, problem")

VARIABLE = "SESSIONLEDGER_WEBHOOKS"
FILE = Option(
    "--file PATH",
    "Where endpoints are kept; beside the ledger if not given.",
    read=Path,
    variable=VARIABLE,
)
ID = Option("ID", "Which endpoint, as `list` shows it.")


@ledger_command(
    Option("URL", "Where to: https://host/path."),
    Option(
        "--type TYPE", f"May be repeated: {', '.join(TYPES)}.", collect=appended, suggestions=TYPES
    ),
    Option("--principal NAME", "Only events of this principal. May be repeated.", collect=appended),
    Option("--allow HOST", "Its host may be private, or loopback, or without TLS."),
    options.AFTER,
    FILE,
)
def add(
    ledger: Ledger,
    json: bool,
    url: str,
    type: list[str] | None,
    principal: list[str] | None,
    allow: str | None,
    after: int | None,
    file: Path | None,
) -> None:
    """Deliver events to a URL from now on, and print its secret.

    The secret signs what is delivered.
    """
    with closing(ledger.log()) as log, _endpoint_errors():
        types = type or endpoints.DEFAULT_TYPES
        endpoint = endpoints.new_endpoint(url, types, principal or (), allow)
        log.ack(ledger.topic, endpoint.consumer, _first_cursor(log, ledger.topic, after))
        _file(ledger, file).add(endpoint)
    if json or on_terminal():
        show({**_record(endpoint), "secret": endpoint.secret}, json)
    else:
        write(endpoint.secret)


@command(LEDGER, JSON, FILE)
def list_(ledger: Ledger, json: bool, file: Path | None) -> None:
    """List the endpoints, and why those are disabled that are."""
    with _endpoint_errors():
        found = _file(ledger, file).read()
    show_all(map(_record, found), TITLES, json)


@command(LEDGER, ID, FILE)
def enable(ledger: Ledger, id: str, file: Path | None) -> None:
    """Try an endpoint again at once, also a disabled one.

    It goes on where it was left.
    """
    with _endpoint_errors():
        if not _file(ledger, file).record(id, endpoints.succeeded):
            raise unknown("id")


@command(LEDGER, ID, FILE)
def remove(ledger: Ledger, id: str, file: Path | None) -> None:
    """Stop delivering to an endpoint, and forget its secret."""
    with _endpoint_errors():
        known = _file(ledger, file)
        consumers = [one.consumer for one in known.read() if one.id == id]
        if not known.remove(id):
            raise unknown("id")
    with closing(ledger.log()) as log:
        # Its cursor would hold back every compaction.
        log_with_cursors = log.compactable()
        if log_with_cursors is not None:
            for topic in log.topics():
                for consumer in consumers:
                    log_with_cursors.forget_cursor(topic, consumer)


@command(LEDGER, TOPIC, FILE)
def deliver(ledger: Ledger, topic: str, file: Path | None) -> None:
    """Deliver until interrupted. `serve` does so by itself."""
    with _endpoint_errors():
        path = _file(ledger, file)
        path.read()
    print(f"delivering to the endpoints in {path.path}", file=sys.stderr, flush=True)
    try:
        from sessionledger.webhooks.dispatcher import deliver_to_all
    except ModuleNotFoundError:
        raise Failure(USAGE, "missing", MISSING) from None
    with closing(ledger.log()) as log, suppress(KeyboardInterrupt):
        deliver_to_all(log, topic, path, warn)


webhooks = {"add": add, "list": list_, "enable": enable, "remove": remove, "deliver": deliver}


def _first_cursor(log: Log, topic: str, after: int | None) -> int:
    """The event to begin after. Raises `InvalidSession` for one that no watch could begin after."""
    with SessionStore(log, topic=topic) as store:
        if after is None:
            return store.head().id
        next(store.watch(after=after))
        return after


def _file(ledger: Ledger, given: Path | None) -> EndpointFile:
    file = endpoint_file(parse_url(ledger.existing_url()).path, given)
    if file is None:
        raise Failure(USAGE, "no_file", "this ledger has no folder: give --file")
    return file


def tell_of_endpoints(ledger: Ledger, principal: str) -> None:
    """Say which endpoints are limited to a principal: their file goes on naming it."""
    file = endpoint_file(parse_url(ledger.existing_url()).path, os.environ.get(VARIABLE))
    with _endpoint_errors():
        for endpoint in () if file is None else file.read():
            if principal in endpoint.principals:
                told = f"the webhook endpoint {endpoint.id} is for this principal, and its file"
                tell(f"{told} names it: sessionledger webhooks remove {endpoint.id}")


@contextmanager
def _endpoint_errors() -> Iterator[None]:
    """A problem of an endpoint or of its file as the failure of the command."""
    try:
        yield
    except endpoints.InvalidEndpoint as error:
        raise Failure(USAGE, "invalid_endpoint", str(error)) from None
    except endpoints.UnsafeFile as error:
        raise Failure(UNAVAILABLE, "unsafe_file", str(error)) from None


def _record(endpoint: Endpoint) -> Record:
    """An endpoint without its secret, and without its path, which may hide another."""
    return {
        "id": endpoint.id,
        "host": urlsplit(endpoint.url).netloc,
        "types": list(endpoint.types),
        "principals": list(endpoint.principals),
        "state": _state(endpoint),
        **fields(endpoint, "failures problem disabled_at"),
    }


def _state(endpoint: Endpoint) -> str:
    if endpoint.disabled_at is not None:
        return "disabled"
    return "failing" if endpoint.failures else "well"
