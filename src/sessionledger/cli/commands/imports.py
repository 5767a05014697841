"""The command that takes over the sessions of other programs, so that users stay logged in."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from sessionledger import ANONYMOUS, DuplicateSession, InvalidSession, LogError, SessionStore
from sessionledger.cli.exit_codes import NO, OK, bad_usage
from sessionledger.cli.input.ledger import Ledger, ledger_command
from sessionledger.cli.input.old_sessions import VARIABLE, Record, django_sessions, redis_sessions
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


@ledger_command(
    Option("KIND", f"What keeps them: {', '.join(KINDS)}.", suggestions=[*KINDS]),
    Option("[SOURCE]", "Its database or its Redis: path or URL.", variable=VARIABLE),
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
    if kind not in KINDS or source is None:
        raise bad_usage(f"KIND is one of {', '.join(KINDS)}; SOURCE may stand in {VARIABLE}")
    if kind == "django" and (told["prefix"] or told["principal"]):
        raise bad_usage("django takes neither --prefix nor --principal: Django names its users")
    counts = Counter(imported=0, already_here=0, lapsed=0, refused=0)
    with ExitStack() as stack:
        store = stack.enter_context(ledger.store_to_read() if dry_run else ledger.store())
        # A dry run begins them in a ledger that is gone afterwards.
        into = stack.enter_context(SessionStore.open("memory:")) if dry_run else store
        run: Any = map if dry_run else stack.enter_context(ThreadPoolExecutor(_AT_ONCE)).map
        bar = stack.enter_context(progress("importing"))
        user = told.pop("principal") or KINDS[kind][1]
        records = _records(kind, source, **told)
        while page := list(islice(records, _PAGE)):
            for outcome, reason in run(partial(_taken, store, into, kind, user), page):
                counts[outcome] += 1
                if reason:
                    tell(f"record {counts.total()}: {reason}; its user logs in again")
            if bar is not None:
                bar(counts.total())
    show(dict(counts), json)
    return NO if counts["refused"] else OK


def _records(
    kind: str, source: str, prefix: str | None, secret_key_file: str | None, local_times: bool
) -> Iterator[Record]:
    begin = KINDS[kind][0] if prefix is None else prefix
    try:
        if kind == "django":
            yield from django_sessions(source, _secret_keys(secret_key_file), local_times)
        elif kind == "flask-session-signed":
            from itsdangerous import Signer

            key = _secret_keys(secret_key_file)[0]
            signer = Signer(key, salt="flask-session", key_derivation="hmac")
            yield from redis_sessions(source, begin, lambda sid: signer.sign(sid).decode())
        else:
            yield from redis_sessions(source, begin)
    except ModuleNotFoundError as error:
        raise bad_usage(f"{error.name} is not installed: pip install {error.name}") from None


def _secret_keys(file: str | None) -> list[str]:
    """SECRET_KEY, and those before it on the lines below."""
    try:
        text = Path(file).read_text() if file else os.environ.get("SECRET_KEY", "")
    except (OSError, ValueError) as error:
        raise bad_usage(f"--secret-key-file names a file that can't be read: {error}") from None
    if not text.strip():
        raise bad_usage("SECRET_KEY is missing: set that variable, or give --secret-key-file")
    return text.splitlines()


def _taken(
    store: SessionStore, into: SessionStore, kind: str, field: str, record: Record
) -> tuple[str, str]:
    """What became of a record, and why it was refused."""
    try:
        token, data, end = record()
        now = datetime.now(UTC)
        if end <= now:
            return "lapsed", ""
        attributes = _attributes(kind, data, into, token)
        user = data.get(field, ANONYMOUS)
        if isinstance(user, bool) or not isinstance(user, str | int):
            raise InvalidSession(field, "is neither text nor a number")
        begun = into.create(
            str(user), token=token, expires_at=end, attributes=attributes, reason="imported"
        )
        if into is not store and store.as_of(handle=begun.handle, at=now) is not None:
            return "already_here", ""
    except DuplicateSession:
        return "already_here", ""
    except LogError:
        raise
    except Exception as error:  # noqa: BLE001  whatever stands there must not stop the rest
        said = str(error) if isinstance(error, InvalidSession) else type(error).__name__
        return "refused", said
    return "imported", ""


def _attributes(kind: str, data: Any, store: SessionStore, token: str) -> dict[str, Any]:
    """The data as the framework's own session is kept here."""
    from sessionledger.integrations.own_session.values import JSON, Format, Serializer

    if not isinstance(data, dict):
        raise InvalidSession("data", "is no object")
    serializer = JSON
    if kind.startswith("flask"):
        from flask.sessions import session_json_serializer as tagged

        serializer = Serializer(tagged.dumps, tagged.loads, "json")
    kept = {name: value for name, value in data.items() if name != _METADATA}
    return Format(serializer, store.policy, token).attributes(kept)
