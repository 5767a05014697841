"""The commands by their names: a module for each kind, imported when one of them is called."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from keyword import iskeyword
from typing import TypeAlias

from sessionledger.cli.parser import Command, no_such

Group: TypeAlias = Mapping[str, Command]


# The module that holds a command, and the first line of the command's help.
COMMANDS = {
    "init": ("copies", "Make a ledger, or print the SQL that makes one in PostgreSQL."),
    "create": ("sessions", "Begin a session and print its token, this once."),
    "find-or-create": (
        "sessions",
        "Find the live session of a principal with an external id, or begin it.",
    ),
    "get": ("sessions", "Show the live session of a token, or of a handle."),
    "authenticate": ("authentication", "Show the live session of a token that a client sent."),
    "reauthenticate": ("authentication", "Record that a bearer has just proved its identity."),
    "touch": ("sessions", "Record that the session of a token, or of a handle, was seen just now."),
    "patch": ("sessions", "Merge changes into the attributes of a live session."),
    "rotate": ("authentication", "Replace the token of a live session and print the new one."),
    "expire": ("sessions", "End the session of a token, for good."),
    "revoke": ("sessions", "End the session of a handle, for good."),
    "revoke-all": ("bulk", "End all live sessions of a principal, or with an external id."),
    "revoke-where": ("bulk", "End the sessions that meet all given criteria, of any principal."),
    "revoke-everybody": ("bulk", "End every session, of every principal, at once."),
    "erase": ("bulk", "End and erase all sessions of a principal, or that of a handle."),
    "sweep": ("bulk", "Record the end of sessions that lapsed."),
    "sessions": ("listings", "List the live sessions, or those in another state."),
    "history": ("listings", "Show what happened to sessions, oldest first."),
    "counts": ("listings", "Count how many logins are live, lapsed and ended."),
    "activity": ("listings", "Count how many sessions began and ended, by hours or days of UTC."),
    "as-of": ("listings", "Show a session as it was known at an instant, live or not."),
    "watch": ("events", "Show what happens to sessions, until interrupted."),
    "events": ("events", "List the events of any topic as they are stored."),
    "head": ("audit", "Print the newest event as topic:id:hash."),
    "verify": ("audit", "Walk the hash chain and name the first event that breaks it."),
    "rebuild": ("audit", "Fold the table of sessions again from the log."),
    "compact": ("audit", "Remove the events that are older than a retention."),
    "maintain": ("audit", "Sweep every topic of sessions, and remove old events: one round."),
    "backup": ("copies", "Copy the whole ledger to a new file, and verify the copy."),
    "erasures": ("copies", "List what was erased, for a restore."),
    "restore": ("copies", "Make a ledger from a backup. Every session is ended."),
    "copy": ("copies", "Copy a ledger to another address, of whatever kind."),
    "import": ("imports", "Take over the sessions of other programs: users stay logged in."),
    "stats": ("audit", "Count sessions and events, and describe the log."),
    "doctor": ("audit", "Find what is wrong with the ledger, and what to do about it."),
    "serve": ("serve", "Serve the ledger over HTTP, until interrupted or told to stop."),
    "console": ("serve", "Serve the console of a ledger, until interrupted or told to stop."),
    "keys": ("keys", "Make, list and revoke the admin keys of the service."),
    "webhooks": ("webhooks", "Deliver what happens to sessions to URLs."),
}


def load(name: str) -> Command | Group:
    """The command, or the group of commands, of a name. Raises `Failure` for an unknown one."""
    if name not in COMMANDS:
        raise no_such("command", name, COMMANDS)
    # msgspec looks into typing_extensions, if installed, for names that `typing` has, too.
    if sys.modules.setdefault("typing_extensions", None) is None:  # type: ignore[arg-type]
        import_module("msgspec")
        del sys.modules["typing_extensions"]
    module = import_module(f"{__name__}.{COMMANDS[name][0]}")
    found: Command | Group = getattr(module, name.replace("-", "_") + "_" * iskeyword(name))
    return found
