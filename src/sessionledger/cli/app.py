"""The commands by their names."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import typer
from typer.main import get_command

from sessionledger import __version__
from sessionledger.cli import bearers, endings, keys, ledger, listings, sessions, stories, webhooks
from sessionledger.cli.doctor import doctor
from sessionledger.cli.exits import MEANINGS, OK, USAGE
from sessionledger.cli.present import write
from sessionledger.cli.serve import serve

NAME = "sessionledger"

# Pretty exceptions would print local variables, and tokens with them.
app = typer.Typer(name=NAME, rich_markup_mode=None, pretty_exceptions_enable=False)
for command in (
    sessions.create,
    sessions.get,
    bearers.authenticate,
    bearers.reauthenticate,
    sessions.touch,
    bearers.patch,
    bearers.rotate,
    sessions.expire,
    sessions.revoke,
    endings.revoke_all,
    endings.sweep,
    listings.sessions,
    listings.history,
    stories.as_of,
    stories.watch,
    listings.events,
    ledger.head,
    ledger.verify,
    ledger.rebuild,
    ledger.stats,
    doctor,
    serve,
):
    app.command(epilog=MEANINGS)(command)
app.add_typer(keys.app)
app.add_typer(webhooks.app)


@app.callback(invoke_without_command=True, epilog=MEANINGS)
def front(
    context: typer.Context,
    version: bool = typer.Option(False, "--version", help="Show the version and exit."),
) -> None:
    """Revocable bearer sessions on an event log.

    A token is read from standard input or from SESSIONLEDGER_TOKEN, never from an argument. The
    ledger is --ledger, or SESSIONLEDGER_URL, or sessions.db in this folder.
    """
    if version:
        write(f"{NAME} {__version__}")
        raise typer.Exit(OK)
    if context.invoked_subcommand is None:
        write(context.get_help())
        raise typer.Exit(USAGE)


# Reading all signatures takes longer than most commands.
_commands = cache(get_command)


def run(arguments: Sequence[str]) -> int | None:
    """Carry out one command. Raises what its answer should be, if that is not all."""
    code: int | None = _commands(app).main(list(arguments), prog_name=NAME, standalone_mode=False)
    return code
