"""The commands that copy a ledger: backup and restore."""

from __future__ import annotations

from sessionledger import restore as restore_backup
from sessionledger.cli.exit_codes import NO, OK
from sessionledger.cli.input.ledger import Ledger, ledger_command, url_of
from sessionledger.cli.output import records
from sessionledger.cli.output.answers import show
from sessionledger.cli.output.formatting import escape
from sessionledger.cli.output.progress import progress
from sessionledger.cli.output.stdout import on_terminal, write
from sessionledger.cli.parser import Option


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
    Option("--accept-breaks", "Restore it although a chain breaks."),
)
def restore(ledger: Ledger, json: bool, file: str, accept_breaks: bool | None) -> None:
    """Make a ledger from a backup. Every session is ended.

    --ledger names the new ledger, which must have no events. Everybody logs in again, since a
    session may have been ended after the backup. That holds for admin keys too. The backup stays.
    """
    with progress("restoring") as bar:
        found = restore_backup(
            file, url_of(ledger.location), accept_breaks=bool(accept_breaks), progress=bar
        )
    if json or not on_terminal():
        show(records.restore_record(found), json)
        return
    for topic in found.topics:
        write(
            f"{escape(topic.topic)}: {topic.events} events, {topic.ended} sessions ended; "
            f"event {topic.restored} says that later ones are lost"
        )
