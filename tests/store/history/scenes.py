"""A ledger on which all kinds of things happened, in an order that a test chooses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import strategies as st

from sessionledger import Log, Policy, SessionStore
from sessionledger.logs.memory.log import MemoryLog
from sessionledger.testing.clock import Clock

PRINCIPALS = ("alice", "bob")
ACTORS = (None, "carol", "dave")
CALLS = (
    *("create", "create", "child", "touch", "touch", "patch", "rotate", "revoke", "expire"),
    *("reuse", "everybody", "where", "all", "sweep", "wait", "wait", "long"),
)

Calls = Sequence[tuple[str, int]]
calls = st.lists(st.tuples(st.sampled_from(CALLS), st.integers(0, 5)), min_size=1, max_size=40)
"""What is called, and a number that says with which session, by which actor and how long."""


def ledger(log: Log | None = None) -> tuple[SessionStore, Clock]:
    """A store on a new log at a clock of its own."""
    clock = Clock()
    policy = Policy(idle_timeout=timedelta(hours=3), rotation_grace=timedelta(minutes=1))
    return SessionStore(log or MemoryLog(), policy=policy, clock=clock), clock


def perform(store: SessionStore, clock: Clock, calls: Calls) -> None:
    """Make the calls, one after the other."""
    tokens: list[str] = []
    for call, number in calls:
        clock.advance(timedelta(seconds=1))
        actor = ACTORS[number % len(ACTORS)]
        if call in ("wait", "long"):
            clock.advance(timedelta(minutes=number) * (60 if call == "long" else 1))
        elif call == "sweep":
            store.sweep()
        elif call == "everybody":
            store.revoke_everybody(actor=actor)
        elif call == "where":
            store.revoke_where(principals=[PRINCIPALS[number % 2]], actor=actor)
        elif call == "all":
            store.revoke_all(PRINCIPALS[number % 2], actor=actor)
        elif call == "create" or not tokens:
            tokens.append(store.create(PRINCIPALS[number % 2], actor=actor).token)
        else:
            _act(store, call, tokens, tokens[number % len(tokens)], number)


def _act(store: SessionStore, call: str, tokens: list[str], token: str, number: int) -> None:
    """Something with one session, which may be over."""
    actor = ACTORS[number % len(ACTORS)]
    session = store.get(token)
    if call == "child" and session is not None:
        tokens.append(store.create("service", parent=token, actor=actor).token)
    elif call == "patch" and not (session and session.ancestors):
        store.patch(token, {"n": number}, actor=actor)
    elif call == "rotate" and session is not None:
        grace = timedelta(minutes=number % 2)
        rotated = store.rotate(token, grace=grace, actor=actor)
        if rotated is not None:
            tokens.append(rotated.token)
    elif call == "revoke" and session is not None:
        store.revoke(handle=session.handle, actor=actor)
    elif call == "expire":
        store.expire(token, actor=actor)
    elif call == "touch":
        store.touch(token, actor=actor)
    else:
        store.authenticate(token)
