"""The commands that make a ledger, or copy one: backup and restore."""

from __future__ import annotations

from pathlib import Path

from sessionledger import copy as copy_ledger
from sessionledger import copy_for_reference, open_log, schema_sql
from sessionledger import restore as restore_backup
from sessionledger.cli.exit_codes import NO, OK, bad_usage
from sessionledger.cli.input.ledger import JSON, LEDGER, Ledger, ledger_command, url_of
from sessionledger.cli.output import records
from sessionledger.cli.output.answers import show
from sessionledger.cli.output.formatting import escape
from sessionledger.cli.output.progress import progress
from sessionledger.cli.output.stdout import on_terminal, write
from sessionledger.cli.parser import Command, Option


def _init(ledger: Ledger, print_sql: bool | None) -> None:
    """Make a ledger, or print the SQL that makes one in PostgreSQL.

    A ledger that is there stays as it is. Let a role that may create run the SQL. The role of your
    programs then needs USAGE on the schema, and SELECT, INSERT, UPDATE and DELETE on its tables.
    """
    url = url_of(ledger.location)
    if print_sql:
        write(schema_sql(url).rstrip("\n"))
    else:
        open_log(url).close()


init = Command(_init, (Option("--print-sql", "Print the SQL, and connect to nothing."), LEDGER))


@ledger_command(Option("FILE", "Where the backup goes. Nothing may be there."))
def backup(ledger: Ledger, json: bool, file: str) -> int:
    """Copy the whole ledger to a new file, and verify the copy.

    The ledger stays in use. The file has every topic, and only `sessionledger restore` opens it.
    It holds no token, but all principals and attributes. Exits with 1 if a chain breaks.
    """
    with ledger.store_to_read() as store, progress("copying") as bar:
        found = store.backup(file, progress=bar)
    if json or not on_terminal():
        show(records.backup_record(found), json)
    else:
        write(f"{escape(str(found.path))}: {found.bytes} bytes")
        for topic in found.topics:
            broken = topic.broken and f", broken at {topic.broken.id}: {topic.broken.problem}"
            write(f"{topic.head}: {topic.events} events{escape(broken or ', all hold')}")
    return OK if found.ok else NO


@ledger_command(
    Option("FILE", "A backup."),
    Option("--keep-live NEWER", "Keep sessions that are live in this newer backup."),
    Option("--accept-breaks", "Restore it although a chain breaks."),
    Option("--erased FILE", "Erase these handles again: what `erasures export` printed."),
)
def restore(
    ledger: Ledger,
    json: bool,
    file: str,
    keep_live: str | None,
    accept_breaks: bool | None,
    erased: str | None,
) -> None:
    """Make a ledger from a backup. Every session is ended.

    --ledger names a new ledger. If a restore was interrupted, the same command goes on with it.
    Everybody logs in again, since a session may have been ended after the backup. That holds for
    admin keys too. The backup stays.
    """
    with progress("restoring") as bar:
        found = restore_backup(
            file,
            url_of(ledger.location),
            keep_live=keep_live,
            accept_breaks=bool(accept_breaks),
            erased=_handles_in(erased) if erased else (),
            progress=bar,
        )
    if json or not on_terminal():
        show(records.restore_record(found), json)
        return
    for topic in found.topics:
        write(
            f"{escape(topic.topic)}: {topic.events} events, {topic.ended} sessions ended; "
            f"event {topic.restored} says that later ones are lost"
        )


def _handles_in(file: str) -> list[str]:
    """The handles in a file, one a line."""
    try:
        return Path(file).read_text(encoding="ascii").split()
    except (OSError, ValueError) as error:
        raise bad_usage(f"--erased names a file that can't be read: {error}") from None


@ledger_command()
def _export(ledger: Ledger, json: bool) -> None:
    """Print the handles that were erased, one a line. Keep them outside of the ledger.

    `restore --erased FILE` erases them again, since a backup may be older. Lists of them are
    removed with the retention: export after each erasure.
    """
    with ledger.store_to_read() as store:
        for handle in store.erasures():
            show({"handle": handle}, json)


erasures = {"export": _export}


def _copy(
    source: str,
    target: str,
    json: bool | None,
    follow: bool | None,
    cut_over: bool | None,
    accept_breaks: bool | None,
    for_reference: bool | None,
) -> None:
    """Copy a ledger to another address, of whatever kind.

    TARGET must have no ledger. If a copy was interrupted, the same command goes on with it. Nobody
    can open a copy that is not whole. Stop the programs that write first, or use --cut-over.
    Otherwise both ledgers go on, and what you end in one of them stays in the other.
    """
    if for_reference:
        if follow or cut_over:
            raise bad_usage("--for-reference goes with --accept-breaks, and no other option")
        with progress("copying") as bar:
            plain = copy_for_reference(
                url_of(source),
                url_of(target),
                accept_breaks=bool(accept_breaks),
                progress=bar,
            )
        show(records.reference_record(plain), bool(json))
        return
    with progress("copying") as bar:
        found = copy_ledger(
            url_of(source),
            url_of(target),
            follow=bool(follow),
            cut_over=bool(cut_over),
            accept_breaks=bool(accept_breaks),
            progress=bar,
        )
    if json or not on_terminal():
        show(records.copy_record(found), bool(json))
        return
    for topic in found.topics:
        write(f"{topic.head}: {topic.events} events, all hold")
    if found.moved:
        write(f"nobody uses the old ledger any more: the new one is {escape(found.to)}")


copy = Command(
    _copy,
    (
        Option("SOURCE", "The ledger: URL or path."),
        Option("TARGET", "Where the copy goes: URL or path."),
        Option("--follow", "Go on with what is written, until interrupted. Opens nothing."),
        Option("--cut-over", "Let the copy take the place of the ledger, for every process."),
        Option("--accept-breaks", "Copy it although a chain breaks."),
        Option(
            "--for-reference", "Copy the sessions for the reference, and say what it can't know."
        ),
        JSON,
    ),
)
