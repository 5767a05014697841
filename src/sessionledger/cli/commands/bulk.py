"""The commands that end many sessions: revoke-all, -where and -everybody, erase, sweep."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Unpack

from sessionledger import SessionStore
from sessionledger.cli.exit_codes import NO, OK, bad_usage
from sessionledger.cli.input import options, values
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.options import Annotations
from sessionledger.cli.output import records
from sessionledger.cli.output.answers import show
from sessionledger.cli.output.errors import tell
from sessionledger.cli.output.progress import progress
from sessionledger.cli.output.stdout import on_terminal, write
from sessionledger.cli.parser import Option, appended

BATCH = 1000
YES = Option("--yes", "Do it without asking. For scripts.")


@ledger_command(
    options.PRINCIPAL,
    options.EXTERNAL_ID,
    Option("--keep HANDLE", "Not this session. May be repeated.", collect=appended),
    *options.ANNOTATIONS,
)
def revoke_all(
    ledger: Ledger,
    json: bool,
    principal: str | None,
    external_id: str | None,
    keep: list[str] | None,
    **annotations: Unpack[Annotations],
) -> None:
    """End all live sessions of a principal, or with an external id."""
    with ledger.store() as store:
        ended = store.revoke_all(principal, external_id=external_id, keep=keep or (), **annotations)
    _show_count("ended", ended, json)


@ledger_command(
    Option("--principal NAME", "Sessions of this principal. May be repeated.", collect=appended),
    options.EXTERNAL_ID,
    Option("--begun-before TIME", "Logins that began earlier.", read=values.instant),
    Option("--begun-after TIME", "Logins that began then or later.", read=values.instant),
    Option("--last-seen-before TIME", "Not seen since.", read=values.instant),
    Option("--last-seen-after TIME", "Seen then or later.", read=values.instant),
    Option("--address-in NETWORK", "Last known address in a network: 192.0.2.0/24."),
    Option("--attributes JSON|@FILE", "Sessions with all of these.", read=values.json_object),
    Option("--dry-run", "Only count."),
    YES,
    *options.ANNOTATIONS,
)
def revoke_where(
    ledger: Ledger,
    json: bool,
    principal: list[str] | None,
    dry_run: bool | None,
    yes: bool | None,
    **told: Any,
) -> None:
    """End the sessions that meet all given criteria, of any principal.

    It counts them first. At least one criterion is required. If it is interrupted, give the same
    command again.
    """
    with ledger.store() as store:
        revoke = partial(store.revoke_where, principals=principal, **told)
        counted = revoke(dry_run=True) if dry_run or not yes else None
        if counted and not dry_run:
            _confirm(f"{counted} sessions will end", str(counted), "sessions")
        ended = counted or 0
        if not dry_run and counted != 0:
            with progress("ending", counted) as bar:
                ended = revoke(progress=bar)
    _show_count("selected" if dry_run else "ended", ended, json)


@ledger_command(YES, *options.ANNOTATIONS)
def revoke_everybody(
    ledger: Ledger, json: bool, yes: bool | None, **annotations: Unpack[Annotations]
) -> None:
    """End every session, of every principal, at once.

    They are over as soon as one event is written. Then each gets an event of its own, which may
    take long. If that is interrupted, the next `sweep` goes on with it.
    """
    with ledger.store() as store:
        if not yes:
            _confirm(f"{store.count()} live sessions will end", ledger.topic, "every session")
        mark = store.revoke_everybody(**annotations)
        tell(f"event {mark.event_id} ended every session that began before it")
        with progress("recording each end") as bar:
            ended = _sweep(store, None, bar)
    show({"event_id": mark.event_id, "ended": ended}, json)


@ledger_command(
    Option("--principal NAME", "All sessions of this principal, in every topic."),
    Option("--handle HANDLE", "The session, with what it was rotated from and into."),
    Option("--mentions", "Also blank what others said of the principal."),
    YES,
)
def erase(
    ledger: Ledger,
    json: bool,
    principal: str | None,
    handle: str | None,
    mentions: bool | None,
    yes: bool | None,
) -> int:
    """End and erase all sessions of a principal, or that of a handle.

    Nothing in the ledger tells whose they were afterwards, and nothing brings that back. What
    others said of the principal is listed. Exits with 1 if something is left for `maintain`.
    """
    from sessionledger.cli.commands import webhooks  # few commands need them

    with ledger.store() as store:
        named = principal or handle
        if not yes and named:
            _confirm("its sessions will end, and be erased", named, "and erases sessions")
        with progress("erasing") as bar:
            found = store.erase(principal, handle=handle, mentions=bool(mentions), progress=bar)
    show(records.erasure_record(found), json)
    if principal:
        webhooks.tell_of_endpoints(ledger, principal)
    return NO if found.pending else OK


def _confirm(what: str, word: str, whose: str) -> None:
    """Have somebody type a word before that happens. Raises `Failure`."""
    if not sys.stdin.isatty():
        raise bad_usage(f"this ends {whose}: give --yes where nobody can be asked")
    tell(f"{what}. Type {word} to go on:")
    if sys.stdin.readline().strip() != word:
        raise bad_usage("nothing was ended: that was not what was to be typed")


@ledger_command(options.LIMIT)
def sweep(ledger: Ledger, json: bool, limit: int | None) -> None:
    """Record the end of sessions that lapsed.

    Only of those that lapsed at least five minutes ago. They were refused before; now the history
    says so. Nothing is ended while the clock can't be right.
    """
    with ledger.store() as store, progress("sweeping", limit) as bar:
        swept = _sweep(store, limit, bar)
    _show_count("swept", swept, json)


def _sweep(store: SessionStore, limit: int | None, bar: Callable[[int], None] | None) -> int:
    swept = 0
    while limit is None or swept < limit:
        most = BATCH if limit is None else min(BATCH, limit - swept)
        ended = store.sweep(limit=most)
        swept += ended
        if bar is not None:
            bar(swept)
        if ended < most:
            break
    return swept


def _show_count(verb: str, count: int, as_json: bool) -> None:
    if on_terminal() and not as_json:
        write(f"{verb} {count} session{'' if count == 1 else 's'}")
    else:
        show({verb: count}, as_json)
