"""The command that says what is wrong with a ledger."""

from __future__ import annotations

import typer

from sessionledger import diagnose
from sessionledger.cli import options
from sessionledger.cli.exits import NO
from sessionledger.cli.opening import existing
from sessionledger.cli.present import on_terminal, show_all, write
from sessionledger.cli.progress import progress
from sessionledger.cli.records import FINDING_TITLES, finding_record


def doctor(
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Say what is wrong with the ledger, and what to do about it. Changes nothing.

    Exits with 1 for any problem or warning. A ledger that is well has nothing to say in a pipe.
    """
    with progress("examining") as told:
        found = diagnose(existing(ledger), topic=topic, progress=told)
    if found or json or not on_terminal():
        show_all(map(finding_record, found), FINDING_TITLES, json)
    else:
        write(f"nothing is wrong with {topic}")
    if any(finding.severity != "note" for finding in found):
        raise typer.Exit(NO)
