"""The commands about webhooks: make, list, try and remove endpoints, and deliver to them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sessionledger.cli.exit_codes import NO, OK, UNAVAILABLE, USAGE, Failure, unknown
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import JSON, LEDGER, TOPIC, Ledger, ledger_command
from sessionledger.cli.output.answers import columns, show, show_all
from sessionledger.cli.output.errors import tell, warn
from sessionledger.cli.output.formatting import Record
from sessionledger.cli.output.records import fields
from sessionledger.cli.output.stdout import on_terminal, write
from sessionledger.cli.parser import Option, appended, command
from sessionledger.webhooks import endpoints
from sessionledger.webhooks.administration import Webhooks, webhooks_of
from sessionledger.webhooks.endpoints import Endpoint
from sessionledger.webhooks.messages import TYPES

MISSING = "webhooks need a package that is not installed: pip install 'sessionledger[webhooks]'"
TITLES = columns("id, host, types, principals, state, failures, problem")

VARIABLE = "SESSIONLEDGER_WEBHOOKS"
FILE = Option(
    "--file PATH",
    "The file of endpoints; the ledger's own if not given.",
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
    with _webhooks(ledger, file) as webhooks:
        types = type or endpoints.DEFAULT_TYPES
        endpoint = webhooks.add(url, types, principal or (), allow=allow, after=after)
    if json or on_terminal():
        show({**_record(endpoint), "secret": endpoint.secret}, json)
    else:
        write(endpoint.secret)


@command(LEDGER, JSON, FILE)
def list_(ledger: Ledger, json: bool, file: Path | None) -> None:
    """List the endpoints, and why those are disabled that are."""
    with _webhooks(ledger, file) as webhooks:
        found = webhooks.list()
    show_all(map(_record, found), TITLES, json)


@command(LEDGER, JSON, ID, FILE)
def test(ledger: Ledger, json: bool, id: str, file: Path | None) -> int:
    """Send a signed test message to an endpoint, and show its answer.

    The type of the message is webhook.test. Exits with 1 if the endpoint did not take it.
    """
    try:
        with _webhooks(ledger, file) as webhooks:
            attempt = webhooks.test(id)
    except ModuleNotFoundError:
        raise Failure(USAGE, "missing", MISSING) from None
    if attempt is None:
        raise unknown("id")
    show({"id": id, **fields(attempt, "status problem seconds")}, json)
    return OK if attempt.problem is None else NO


@command(LEDGER, ID, FILE)
def enable(ledger: Ledger, id: str, file: Path | None) -> None:
    """Try an endpoint again at once, also a disabled one.

    It goes on where it was left.
    """
    with _webhooks(ledger, file) as webhooks:
        if webhooks.enable(id) is None:
            raise unknown("id")


@command(LEDGER, ID, FILE)
def remove(ledger: Ledger, id: str, file: Path | None) -> None:
    """Stop delivering to an endpoint, and forget its secret."""
    with _webhooks(ledger, file) as webhooks:
        if webhooks.remove(id) is None:
            raise unknown("id")


@command(LEDGER, TOPIC, FILE)
def deliver(ledger: Ledger, topic: str, file: Path | None) -> None:
    """Deliver until interrupted. `serve` does so by itself."""
    with _webhooks(ledger.at(topic), file) as webhooks:
        webhooks.list()
        place = webhooks.endpoints
        print(f"delivering to the endpoints in {place}", file=sys.stderr, flush=True)
        try:
            from sessionledger.webhooks.dispatcher import deliver_to_all
        except ModuleNotFoundError:
            raise Failure(USAGE, "missing", MISSING) from None
        with suppress(KeyboardInterrupt):
            deliver_to_all(webhooks.log, topic, place, warn)


webhooks = {
    "add": add,
    "list": list_,
    "test": test,
    "enable": enable,
    "remove": remove,
    "deliver": deliver,
}


def tell_of_endpoints(ledger: Ledger, principal: str) -> None:
    """Say which endpoints are limited to a principal: their place goes on naming it."""
    with _webhooks(ledger, os.environ.get(VARIABLE)) as webhooks:
        for endpoint in webhooks.list():
            if principal in endpoint.principals:
                told = f"the webhook endpoint {endpoint.id} is for this principal, and names it"
                tell(f"{told}: sessionledger webhooks remove {endpoint.id}")


@contextmanager
def _webhooks(ledger: Ledger, file: str | Path | None) -> Iterator[Webhooks]:
    with closing(ledger.log()) as log, _endpoint_errors():
        found = webhooks_of(log, ledger.topic, file)
        if found is None:
            raise Failure(USAGE, "no_file", "this ledger has no folder: give --file")
        yield found


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
        "host": endpoint.netloc,
        "types": list(endpoint.types),
        "principals": list(endpoint.principals),
        **fields(endpoint, "state failures problem disabled_at"),
    }
