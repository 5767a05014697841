"""Where the time of the hot paths goes, step by step: python -m benchmarks.profiling.

Each step is timed by itself, in a loop of its own, as the path calls it. That is its least: in the
path the steps share the processor's caches, and what is left over is that, and the calls between.
Writes docs/benchmarks/profile.md.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from os import urandom
from pathlib import Path

from benchmarks.report import this_machine
from sessionledger import SessionStore
from sessionledger.core import decide
from sessionledger.core.codec import decode_session, encode_event
from sessionledger.core.fold import evolve
from sessionledger.core.policy import Policy
from sessionledger.core.token import digest, handle_of, issue, parse_token
from sessionledger.logs import chain, units
from sessionledger.logs.base import Unit
from sessionledger.store.engine import SESSIONS_TOPIC
from sessionledger.store.session_fold import SessionFold, draft_of
from sessionledger.store.steps import Step, prepare

PROFILE = Path(__file__).parent.parent / "docs" / "benchmarks" / "profile.md"
TIMES, ROUNDS = 5000, 15
COMMAND = decide.Create(
    principal="alice",
    ttl=timedelta(hours=12),
    attributes={"role": "operator", "tenant": "acme"},
)
HASH = "sha256:" + "0" * 64

Steps = Mapping[str, Callable[[], object]]


def reading(store: SessionStore) -> Steps:
    """`get` of a session whose row is kept."""
    engine, policy = store._engine, Policy()
    token = store.create("alice", attributes=dict[str, object](role="operator")).token
    key, state = digest(token), engine.log.log.state
    for _ in range(4):
        store.get(token)
    found = state(SESSIONS_TOPIC, key)
    assert found is not None
    return {
        "all of it": lambda: store.get(token),
        "check the token": lambda: parse_token(token, policy),
        "hash it": lambda: digest(token),
        "find the row, and that nobody has committed since": lambda: state(SESSIONS_TOPIC, key),
        "look at the clock": engine.nanoseconds,
        "decode the session": lambda: decode_session(found[0], found[2]),
    }


def creating(store: SessionStore) -> Steps:
    """What a create does in Python besides waiting: in the caller, then in who commits."""
    engine, policy = store._engine, Policy()
    token, now = issue(urandom(32)), engine.clock()
    key = digest(token)
    handle = handle_of(key)
    event = decide.decide_create(None, handle, COMMAND, now, policy)
    session = evolve(None, event)
    assert session is not None
    step = Step(event, {}, key, None)
    change, _ = prepare(step, 0, None)
    batch, fold = [Unit((change,))], SessionFold(SESSIONS_TOPIC)
    linked = chain.link(SESSIONS_TOPIC, change.event, 5, HASH)

    def plan() -> None:
        units.plan(SESSIONS_TOPIC, batch, fold, units.BatchState(chain.Head(5, HASH), {}))

    return {
        "issue a token": lambda: issue(urandom(32)),
        "hash it, and name the handle": lambda: handle_of(digest(token)),
        "decide": lambda: decide.decide_create(None, handle, COMMAND, now, policy),
        "prepare: encode the event, fold it, encode the row": lambda: prepare(step, 0, None),
        "of that, encoding the event": lambda: encode_event(event),
        "of that, folding": lambda: evolve(None, event),
        "of that, encoding the row": lambda: draft_of(session),
        "check the unit": lambda: units.check(batch, fold),
        "plan: conditions, hash chain, row": plan,
        "of that, hashing and linking": lambda: chain.link(SESSIONS_TOPIC, change.event, 5, HASH),
        "encode the headers": lambda: chain.encode_headers(linked.headers),
    }


def timed(step: Callable[[], object]) -> float:
    """Microseconds of processor time: the best of several rounds."""
    best = float("inf")
    for _ in range(ROUNDS):
        start = time.thread_time()
        for _ in range(TIMES):
            step()
        best = min(best, time.thread_time() - start)
    return best / TIMES * 1e6


def table(title: str, steps: Steps) -> str:
    lines = [f"| {name} | {timed(step):.2f} |" for name, step in steps.items()]
    return "\n".join([f"| {title} | µs |", "| --- | ---: |", *lines])


def page(store: SessionStore) -> str:
    machine = this_machine()
    return f"""# Profile of the hot paths

Made by `python -m benchmarks.profiling` on {machine.processor}, {machine.cores} cores. Each step by
itself, in a loop of its own: processor time, best of {ROUNDS} rounds. What is left of these, and
why, stands under
[where the time goes](../performance.md#where-the-time-goes).

{table("`get` of a session that was read before", reading(store))}

{table("`create`, Python alone", creating(store))}
"""


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as folder,
        SessionStore.open(f"sqlite:///{folder}/profile.db") as store,
    ):
        PROFILE.write_text(page(store))
