"""The commands that end many sessions: revoke-all, sweep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from sessionledger import SessionStore
from sessionledger.cli import options
from sessionledger.cli.opening import open_store
from sessionledger.cli.present import on_terminal, show, write
from sessionledger.cli.progress import progress

BATCH = 1000

Keep = Annotated[
    list[str] | None,
    typer.Option("--keep", metavar="HANDLE", help="Not this one. May be repeated."),
]


def revoke_all(
    principal: options.ByPrincipal = None,
    external_id: options.ByExternalId = None,
    keep: Keep = None,
    reason: options.Reason = None,
    actor: options.Actor = None,
    context: options.Context = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """End all live sessions of a principal, or with an external id, at once and for good."""
    with open_store(ledger, topic) as store:
        ended = store.revoke_all(
            principal,
            external_id=external_id,
            keep=keep or (),
            reason=reason,
            actor=actor,
            context=options.context(context),
        )
    _show_count("ended", ended, json)


def sweep(
    limit: options.Limit = None,
    ledger: options.Ledger = options.LEDGER,
    topic: options.Topic = options.TOPIC,
    json: options.Json = False,
) -> None:
    """Record the end of sessions that lapsed, at least five minutes ago.

    They were refused before; now history tells of it. Ends nothing by a clock that can't be right.
    """
    with open_store(ledger, topic) as store, progress("sweeping", limit) as told:
        swept = _sweep(store, limit, told)
    _show_count("swept", swept, json)


def _sweep(store: SessionStore, limit: int | None, told: Callable[[int], None] | None) -> int:
    swept = 0
    while limit is None or swept < limit:
        most = BATCH if limit is None else min(BATCH, limit - swept)
        ended = store.sweep(limit=most)
        swept += ended
        if told is not None:
            told(swept)
        if ended < most:
            break
    return swept


def _show_count(did: str, count: int, as_json: bool) -> None:
    if on_terminal() and not as_json:
        write(f"{did} {count} session{'' if count == 1 else 's'}")
    else:
        show({did: count}, as_json)
