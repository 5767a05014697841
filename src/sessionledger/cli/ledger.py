"""The commands about the ledger as a whole: head, verify, rebuild, stats."""

from __future__ import annotations

from typing import Annotated

import typer

from sessionledger import Verification
from sessionledger.cli import options
from sessionledger.cli.exits import NO
from sessionledger.cli.opening import open_store, store_to_read
from sessionledger.cli.present import cell, escape, on_terminal, show, write
from sessionledger.cli.progress import progress
from sessionledger.cli.records import head_record, stats_record, verification_record

Expect = Annotated[
    str | None,
    typer.Option("--expect", metavar="HEAD", help="A head that the ledger had before."),
]


def head(
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Print the newest event as topic:id:hash.

    Keep it where the ledger's owner can't write, and give it to `verify --expect` later.
    """
    with store_to_read(ledger, topic) as store:
        found = store.head()
    if json:
        show(head_record(found), as_json=True)
    else:
        write(str(found))


def verify(
    expect: Expect = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Walk the hash chain, and name the first event that was changed, removed or moved.

    Who can rewrite the whole ledger can also recompute the chain: only --expect finds that, and
    events that are missing from the end.
    """
    with store_to_read(ledger, topic) as store, progress("verifying", store.head().id) as told:
        found = store.verify(expect=expect, progress=told)
    if on_terminal() and not json:
        write(_verdict(found, expect))
    else:
        show(verification_record(found), json)
    if not found.ok:
        raise typer.Exit(NO)


def rebuild(
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Fold the table of sessions anew from the log."""
    with open_store(ledger, topic) as store, progress("rebuilding", store.head().id) as told:
        events = store.rebuild(progress=told)
    if on_terminal() and not json:
        write(f"folded {events} events of {topic} anew")
    else:
        show({"events": events}, json)


def stats(
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Show how much there is, and on what. In a pipe: a name and its value on each line."""
    with store_to_read(ledger, topic) as store:
        record = stats_record(store.stats())
    if json or on_terminal():
        show(record, json)
        return
    for name, value in record.items():
        write(f"{name}\t{cell(value)}")


def _verdict(found: Verification, expect: str | None) -> str:
    topic = found.head.topic
    if found.broken is not None:
        problem = escape(found.broken.problem)
        return (
            f"broken: event {found.broken.id} of {topic}: {problem}\n"
            f"the {found.events} events before it hold"
        )
    against = ", and the expected head is among them" if expect else ""
    return f"ok: all {found.events} events of {topic} hold{against}\nhead: {found.head}"
