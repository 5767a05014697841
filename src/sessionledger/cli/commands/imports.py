"""The command that takes over the sessions of other programs, so that users stay logged in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import sessionledger
from sessionledger import ANONYMOUS, InvalidSession, Policy, SessionStore
from sessionledger.cli.exit_codes import NO, OK, bad_usage
from sessionledger.cli.input import old_sessions
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.old_sessions import OldSession, Record, Unusable
from sessionledger.cli.output.answers import show
from sessionledger.cli.output.errors import tell
from sessionledger.cli.output.progress import progress
from sessionledger.cli.parser import Option

# What keeps sessions, how its keys in Redis begin, and where the user is in the data.
KINDS = {
    "django": ("", "_auth_user_id"),
    "flask-session": ("session:", "_user_id"),
    "flask-session-signed": ("session:", "_user_id"),
    "starsessions": ("starsessions.", "user_id"),
    "litestar": ("LITESTAR:", "user_id"),
}
_AT_ONCE = 64  # they share commits
_PAGE = 1000
_METADATA = "__metadata__"  # of starsessions

Layout: TypeAlias = Callable[[OldSession, Policy], tuple[str, dict[str, Any]]]
"""Whom a session is for, and its attributes."""


@ledger_command(
    Option("KIND", f"What keeps them: {', '.join(KINDS)}.", suggestions=[*KINDS]),
    Option("[SOURCE]", "Its database or its Redis: path or URL.", variable=old_sessions.VARIABLE),
    Option("--prefix TEXT", "How its keys in Redis begin, if not as usual."),
    Option("--principal NAME", "Where the user is in the data, if not as usual."),
    Option("--secret-key-file FILE", "Has SECRET_KEY; the variable SECRET_KEY if not given."),
    Option("--local-times", "For SQLite without USE_TZ: its times are of this machine."),
    Option("--dry-run", "Write nothing, and say what would become of each."),
)
def import_(
    ledger: Ledger, json: bool, kind: str, source: str | None, dry_run: bool | None, **told: Any
) -> int:
    """Take over the sessions of other programs: users stay logged in.

    Each keeps its token, its data and its end. Sessions without a user become anonymous. Run again,
    it takes over what is new. Exits with 1 if records were refused: their users log in again.
    """
    if kind not in KINDS:
        raise bad_usage(f"KIND must be one of {', '.join(KINDS)}")
    if source is None:
        raise bad_usage(f"SOURCE is missing: name it, or set {old_sessions.VARIABLE}")
    try:
        counts = _take_over(ledger, *_records(kind, source, **told), bool(dry_run))
    except ModuleNotFoundError as error:
        raise bad_usage(f"{error.name} is not installed: pip install {error.name}") from None
    show(counts, json)
    return NO if counts["refused"] else OK


def _records(
    kind: str,
    source: str,
    prefix: str | None,
    principal: str | None,
    secret_key_file: str | None,
    local_times: bool | None,
) -> tuple[Iterator[Record], Layout]:
    usual_prefix, field = KINDS[kind]
    if kind == "django":
        if prefix or principal:
            raise bad_usage("django takes neither --prefix nor --principal: Django names its users")
        records = old_sessions.django_sessions(
            source, _secret_keys(secret_key_file), not local_times
        )
        return records, partial(_as_in_django, field)
    token_of: Callable[[str], str] = str
    if kind == "flask-session-signed":
        key = _secret_keys(secret_key_file)[0]
        token_of = partial(old_sessions.signed_by_flask_session, key)
    begin = usual_prefix if prefix is None else prefix
    records = old_sessions.redis_sessions(source, begin, token_of)
    return records, partial(_plain, principal or field)


def _secret_keys(file: str | None) -> list[str]:
    """SECRET_KEY, and those before it on the lines below."""
    try:
        text = Path(file).read_text() if file else os.environ.get("SECRET_KEY", "")
    except (OSError, ValueError) as error:
        raise bad_usage(f"--secret-key-file names a file that can't be read: {error}") from None
    if not text.strip():
        raise bad_usage("SECRET_KEY is missing: set that variable, or give --secret-key-file")
    return text.splitlines()


def _take_over(
    ledger: Ledger, records: Iterator[Record], layout: Layout, dry_run: bool
) -> dict[str, int]:
    counts = Counter(imported=0, already_here=0, lapsed=0, refused=0)
    with ExitStack() as stack:
        store = stack.enter_context(ledger.store_to_read() if dry_run else ledger.store())
        # A dry run begins them in a ledger that is gone afterwards.
        into = stack.enter_context(SessionStore.open("memory:")) if dry_run else store
        run: Any = map if dry_run else stack.enter_context(ThreadPoolExecutor(_AT_ONCE)).map
        bar = stack.enter_context(progress("importing"))
        while page := list(islice(records, _PAGE)):
            for outcome, reason in run(partial(_taken, store, into, layout), page):
                counts[outcome] += 1
                if reason:
                    tell(f"record {counts.total()}: {reason}; its user logs in again")
            if bar is not None:
                bar(counts.total())
    return dict(counts)


def _taken(
    store: SessionStore, into: SessionStore, layout: Layout, record: Record
) -> tuple[str, str]:
    """What became of a record, and why it was refused."""
    try:
        old = record()
        if not isinstance(old.data, dict):
            raise Unusable("it holds no object")
        now, end = datetime.now(UTC), old.expires_at
        if end <= now:
            return "lapsed", ""
        principal, data = layout(old, store.policy)
        begun = into.create(
            principal, token=old.token, expires_at=end, attributes=data, reason="imported"
        )
        is_new = into is store or store.as_of(handle=begun.handle, at=now) is None
    except sessionledger.DuplicateSession:
        return "already_here", ""
    except (InvalidSession, Unusable) as reason:
        return "refused", str(reason)
    except sessionledger.SessionLedgerError:
        raise
    except Exception as error:  # noqa: BLE001  whatever stands there must not stop the rest
        return "refused", f"it can't be read ({type(error).__name__})"
    return ("imported" if is_new else "already_here"), ""


def _as_in_django(field: str, old: OldSession, policy: Policy) -> tuple[str, dict[str, Any]]:
    from sessionledger.integrations.own_session.values import JSON, Format

    return _principal(field, old), Format(JSON, policy, old.token).attributes(old.data)


def _plain(field: str, old: OldSession, _policy: Policy) -> tuple[str, dict[str, Any]]:
    data = {name: value for name, value in old.data.items() if name != _METADATA}
    return _principal(field, old), data


def _principal(field: str, old: OldSession) -> str:
    user = old.data.get(field, ANONYMOUS)
    if isinstance(user, bool) or not isinstance(user, str | int):
        raise Unusable(f"{field} is neither text nor a number")
    return str(user)
