"""The commands about the ledger as a whole, from `head` to `stats`."""

from __future__ import annotations

from datetime import timedelta

from sessionledger import Verification, diagnose
from sessionledger.cli.exit_codes import NO, OK, Failure
from sessionledger.cli.input import options
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.values import duration
from sessionledger.cli.output import records
from sessionledger.cli.output.answers import show, show_all
from sessionledger.cli.output.formatting import cell, escape
from sessionledger.cli.output.progress import progress
from sessionledger.cli.output.stdout import on_terminal, write
from sessionledger.cli.parser import Option, appended

KEEP = Option("--archive DIR", "Copy what is removed to this folder first.")


@ledger_command()
def head(ledger: Ledger, json: bool) -> None:
    """Print the newest event as topic:id:hash.

    Keep it where the ledger's owner can't write, and give it to `verify --expect` later.
    """
    with ledger.store_to_read() as store:
        found = store.head()
    if json:
        show(records.head_record(found), as_json=True)
    else:
        write(str(found))


@ledger_command(Option("--expect HEAD", "A head that the ledger had before."), options.ARCHIVE)
def verify(ledger: Ledger, json: bool, expect: str | None, archive: str | None) -> int:
    """Walk the hash chain and name the first event that breaks it.

    An event breaks it that was changed, removed, added or moved. Somebody who can rewrite the whole
    ledger can also recompute the chain. Only --expect finds that, and events that are missing from
    the end.
    """
    with ledger.store_to_read() as store, progress("verifying", store.head().id) as bar:
        found = store.verify(expect=expect, archive=archive, progress=bar)
    if not found.head.id and found.ok:
        problem = f"there is nothing to verify: {ledger.topic} holds no event"
        raise Failure(NO, "nothing_to_verify", problem)
    if on_terminal() and not json:
        write(_verdict(found, expect))
    else:
        show(records.verification_record(found), json)
    return OK if found.ok else NO


@ledger_command()
def doctor(ledger: Ledger, json: bool) -> int:
    """Find what is wrong with the ledger, and what to do about it.

    Changes nothing. Exits with 1 for any problem or warning. In a pipe, nothing is printed for a
    ledger without one.
    """
    with progress("examining") as bar:
        found = diagnose(ledger.existing_url(), topic=ledger.topic, progress=bar)
    if found or json or not on_terminal():
        show_all(map(records.finding_record, found), records.FINDING_TITLES, json)
    else:
        write(f"nothing is wrong with {ledger.topic}")
    return NO if any(finding.severity != "note" for finding in found) else OK


@ledger_command()
def rebuild(ledger: Ledger, json: bool) -> None:
    """Fold the table of sessions again from the log."""
    with ledger.store() as store, progress("rebuilding", store.head().id) as bar:
        events = store.rebuild(progress=bar)
    if on_terminal() and not json:
        write(f"folded {events} events of {ledger.topic}")
    else:
        show({"events": events}, json)


@ledger_command(
    Option("--retention SPAN", "Keep events for so long: 90d.", read=duration, required=True),
    Option("--dry-run", "Remove nothing, and say what would go."),
    Option("--shorten", "Allow a retention that is shorter than the last one."),
    Option(
        "--give-up CONSUMER",
        "Do not wait for this consumer, such as a webhook. May be repeated.",
        collect=appended,
    ),
    Option("--accept-break EVENT", "Go on behind breaks of the chain up to there.", read=int),
    KEEP,
    Option("--give-up-archive", "Copy nothing, although earlier events are in an archive."),
    Option("--vacuum", "Make an older SQLite file smaller. Nobody can write meanwhile."),
)
def compact(
    ledger: Ledger,
    json: bool,
    retention: timedelta,
    dry_run: bool,
    shorten: bool,
    give_up: list[str] | None,
    accept_break: int | None,
    archive: str | None,
    give_up_archive: bool,
    vacuum: bool,
) -> None:
    """Remove the events that are older than a retention.

    Every session stays. Of one that ended before the remaining events, only its handle is known
    from then on, and its token can never be used again. Nothing else of the ledger changes.
    """
    with ledger.store() as store, progress("compacting") as bar:
        found = store.compact(
            retention=retention,
            dry_run=dry_run,
            shorten=shorten,
            give_up=give_up or (),
            accept_break=accept_break or 0,
            archive=archive,
            give_up_archive=give_up_archive,
            vacuum=vacuum,
            progress=bar,
        )
    if json or not on_terminal():
        show(records.compaction_record(found), json)
        return
    would = "would remove" if dry_run else "removed"
    write(f"{would} {found.events} events up to {found.cut}, of {found.bytes} bytes")
    write(f"{found.sessions} sessions that ended {'would become' if dry_run else 'are'} tombstones")
    write(f"{found.forgotten} that ended {'would be' if dry_run else 'are'} forgotten")
    if found.held_back_by is not None:
        write(f"{escape(found.held_back_by)} has yet to read later ones: --give-up does not wait")


@ledger_command(
    Option("--retention SPAN", "Also remove events that are older: 90d.", read=duration),
    KEEP,
)
def maintain(ledger: Ledger, json: bool, retention: timedelta | None, archive: str | None) -> None:
    """Sweep every topic of sessions, and remove old events: one round.

    For a timer, such as cron. Nothing is printed while another process maintains the ledger.
    """
    with ledger.store() as store:
        done = store.maintain(retention=retention, archive=archive)
    if done is not None:
        found = [records.maintained_record(topic, done) for topic in done.swept]
        show_all(found, records.MAINTAINED_TITLES, json)


@ledger_command()
def stats(ledger: Ledger, json: bool) -> None:
    """Count sessions and events, and describe the log.

    In a pipe, each line is a name and its value.
    """
    with ledger.store_to_read() as store:
        record = records.stats_record(store.stats())
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
    if found.cut:
        against = f", and the base of the events up to {found.cut}{against}"
    return f"ok: all {found.events} events of {topic} hold{against}\nhead: {found.head}"
