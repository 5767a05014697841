"""All sessions of a principal, or with an external id of the application, ended at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

from msgspec.structs import replace

from sessionledger.core.annotations import refuse_secrets
from sessionledger.core.children import refuse_child, tree_of
from sessionledger.core.ends import decide_end_all
from sessionledger.core.events import Expired
from sessionledger.core.families import family_of, is_reuse, is_rotated
from sessionledger.core.session import Session
from sessionledger.core.token import digest, handle_of, parse_handle, parse_token
from sessionledger.errors import InvalidSession
from sessionledger.logs.base import OVER, Appended, Row, RowFilter, Rule, Unit, Verdict
from sessionledger.store.engine import Annotation, Engine
from sessionledger.store.operations.active_sessions import (
    Choose,
    ending,
    leaving,
    of_principal,
    settle,
)
from sessionledger.store.operations.families import end_reused
from sessionledger.store.operations.listings import Selection
from sessionledger.store.session_fold import intact_session_of, session_of

AT_ONCE = 10_000
"""So many sessions end in one unit."""
A_PAGE = 500
"""So many end in each unit where there are more."""


async def revoke_all(
    engine: Engine, which: Selection, keep: Iterable[str], annotation: Annotation
) -> int:
    """End the active sessions selected, but for those to keep; how many logins ended.

    Each unit ends all that were begun before it, in the order of their creation. So none is left
    that was begun before the last one.
    """
    where = RowFilter(owner=which.owner(), alias=which.alias(), live_at=OVER)
    if (where.owner is None) == (where.alias is None):
        raise InvalidSession("principal", "or external_id: revoke_all takes one of them")
    kept = {handle_of(parse_handle(handle)) for handle in _several(keep)}
    families_kept: set[str] = set()
    headers, now = engine.annotate(annotation), engine.clock()

    def choose(sessions: Sequence[Session]) -> list[Expired]:
        stay = {one.handle for one in sessions if one.handle in kept and not is_rotated(one)}
        families_kept.update(family_of(one) for one in sessions if one.handle in stay)
        going = [one for one in sessions if one.handle not in stay]
        return decide_end_all(going, None, now, "revoked")

    return len(await _end_all(engine, where, choose, now, headers) - families_kept)


async def log_out_everywhere(engine: Engine, token: object, annotation: Annotation) -> int:
    """End all active sessions of the principal of a token, its own too; how many logins ended.

    0 where the token's session was ended before, or never was. Reuse ends its family.
    """
    secret = parse_token(token, engine.policy)
    session = session_of(await engine.log.row(engine.topic, digest(secret)))
    headers, now = engine.annotate(annotation), engine.clock()
    refuse_secrets(secret, b"", headers)
    if is_reuse(session, now):
        await end_reused(engine, secret, annotation)
        return 0
    if session is None:
        return 0
    if session.ended_at is not None:
        await settle(engine)
        return 0
    refuse_child(session)

    def choose(sessions: Sequence[Session]) -> list[Expired]:
        return decide_end_all(sessions, None, now, "signed_out")

    where = of_principal(session.principal)
    return len(await _end_all(engine, where, choose, now, headers))


def ending_others(engine: Engine, session: Session, now: datetime, headers: dict[str, str]) -> Rule:
    """The rule that ends all other sessions of a session's principal, and all below any."""
    return ending(
        engine,
        of_principal(session.principal),
        _others(session, now),
        now,
        headers,
        follow=leaving(session, now),
        groups=[tree_of(session)],
    )


async def end_many(
    engine: Engine, session: Session, now: datetime, headers: dict[str, str]
) -> None:
    """End the others of a session's principal, if they are too many for one unit."""
    where = of_principal(session.principal)
    if await engine.log.count(engine.topic, where) > AT_ONCE:
        choose = _others(session, now)
        rule = ending(engine, where, choose, now, headers, limit=A_PAGE)
        await end_by(engine, [rule], _login)


def _others(session: Session, now: datetime) -> Choose:
    return lambda sessions: decide_end_all(sessions, session.handle, now, "revoked")


async def _end_all(
    engine: Engine, where: RowFilter, choose: Choose, now: datetime, headers: dict[str, str]
) -> set[str]:
    """End the sessions that are chosen, and all below them: the families of those chosen."""
    rule = ending(engine, where, choose, now, headers, limit=AT_ONCE + 1)

    def decide(rows: Sequence[Row]) -> Verdict | None:
        return rule.decide(rows) if len(rows) <= AT_ONCE else None

    def login(row: Row) -> str | None:
        return _login(row) if where.matches(row) else None

    unit = Unit(rule=replace(rule, decide=decide))
    (outcome,) = await engine.log.append(engine.topic, [unit])
    if isinstance(outcome, Appended):
        return _logins(outcome, login)
    return await end_by(engine, [replace(rule, limit=A_PAGE)], login)


async def end_by(
    engine: Engine, rules: Sequence[Rule], login: Callable[[Row], str | None]
) -> set[str]:
    """End by each rule page after page, in one write each time; the logins of what ended.

    login: what each row that ended counts with, None where it does not count.
    """
    logins = set[str]()
    while rules:
        outcomes = await engine.log.append(engine.topic, [Unit(rule=rule) for rule in rules])
        pages, rules = zip(rules, outcomes, strict=True), []
        for rule, outcome in pages:
            assert isinstance(outcome, Appended)
            logins |= _logins(outcome, login)
            if outcome.last is not None:
                rules.append(replace(rule, after=outcome.last))
    return logins


def _logins(outcome: Appended, login: Callable[[Row], str | None]) -> set[str]:
    return {found for row, _ in outcome.ruled if (found := login(row)) is not None}


def _login(row: Row) -> str:
    """The family that a session counts with. A damaged one counts alone."""
    session = intact_session_of(row)
    return handle_of(row.key) if session is None else family_of(session)


def _several(keep: Iterable[str]) -> Iterable[str]:
    """One handle is meant as one, and not as its letters."""
    return [keep] if isinstance(keep, str) else keep
