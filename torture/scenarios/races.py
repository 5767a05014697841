"""Eight processes on the same sessions, beside everything else that may use a ledger.

Each answer has a version, which is a position in the log. So the log itself is the order that all
answers must agree with, and `checker` compares it with when each call began and was answered.
"""

from __future__ import annotations

import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import apsw
import msgspec
from msgspec.structs import replace

from sessionledger import LogUnavailable, SessionStore
from torture.checker import FORGIVEN
from torture.history import STRANGER
from torture.journal import Recorder
from torture.ledger import POLICY, handle_in
from torture.processes import Work
from torture.scenarios.kills import some_of
from torture.trial import Trial
from torture.writer import USUAL, Login, Writer

PROCESSES = 8
CALLS = 45
MOST_LIVE = 3
LIMITED = "limited"
WEIGHTS = USUAL | {"revoke_everybody": 0, "rebuild": 0, "create": 3, "limited": 6}
LIMITED_POLICY = replace(POLICY, max_sessions_per_principal=MOST_LIVE)
FORGIVEN_HERE = FORGIVEN | {"SessionLimitReached"}


class LimitedWriter(Writer):
    """Also begins sessions of one principal, of which there may be a few only."""

    def limited(self) -> None:
        self.create(LIMITED)

    def _principal(self) -> str:
        return f"p{self._rng.random()}"


def races(trial: Trial, log: str) -> None:
    """Work on a few sessions that every process has, and on a limit that all share."""
    url = trial.url(log)
    beside = [_read_for_long, _rebuild]
    if log == "sqlite":
        beside += [_checkpoint, _vacuum, _shell]
    with trial.crew() as crew:
        crew.wait(crew.start(_begin(url)))
        shared = some_of(crew.journal, 10)
        workers = [crew.start(_work(url, shared, trial.size(CALLS))) for _ in range(PROCESSES)]
        others = [crew.start(_again(one, url)) for one in beside]
        if log == "sqlite":
            others.append(crew.start(_append_as_a_stranger(trial.folder / "s.db", shared)))
        while crew.is_alive(workers):
            crew.read(0.05)
            if trial.rng.random() < 0.1:
                killed = trial.rng.randrange(len(beside))
                crew.kill(others[killed])
                trial.counts["killed beside"] += 1
                others[killed] = crew.start(_again(beside[killed], url))
        crew.kill_all()
        trial.check(url, crew.journal, crew.next_writer, FORGIVEN_HERE)
        trial.fail(_over_the_limit(url))


def _begin(url: str) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=LIMITED_POLICY) as store:
            LimitedWriter(store, recorder, rng).work({"create": 1}, 10)

    return work


def _work(url: str, shared: list[Login], calls: int) -> Work:
    def work(recorder: Recorder, rng: random.Random) -> None:
        with SessionStore.open(url, policy=LIMITED_POLICY) as store:
            LimitedWriter(store, recorder, rng, shared).work(WEIGHTS, calls)

    return work


def _again(once: Callable[[str, random.Random], None], url: str) -> Work:
    """Do something again and again until the process is killed."""

    def work(_: Recorder, rng: random.Random) -> None:
        while True:
            with suppress(LogUnavailable, apsw.Error):
                once(url, rng)
            time.sleep(rng.random() / 50)

    return work


def _read_for_long(url: str, rng: random.Random) -> None:
    with SessionStore.open(url, policy=POLICY) as store:
        for _ in store.events():
            time.sleep(rng.random() / 2000)


def _rebuild(url: str, _: random.Random) -> None:
    with SessionStore.open(url, policy=POLICY) as store:
        store.rebuild()


def _checkpoint(url: str, rng: random.Random) -> None:
    kind = rng.choice(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
    _execute(url, f"PRAGMA wal_checkpoint({kind})")


def _vacuum(url: str, _: random.Random) -> None:
    _execute(url, "VACUUM")


def _shell(url: str, _: random.Random) -> None:
    """SQLite's own shell, with the writers' turn in its hands for a moment."""
    statements = "BEGIN IMMEDIATE; SELECT count(*) FROM events; SELECT * FROM ledger_rows; COMMIT"
    command = [sys.executable, "-m", "apsw", url.removeprefix("sqlite:///"), statements]
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def _execute(url: str, statement: str) -> None:
    connection = apsw.Connection(url.removeprefix("sqlite:///"))
    connection.set_busy_timeout(1000)
    connection.execute(statement).fetchall()
    connection.close()


def _append_as_a_stranger(path: Path, shared: list[Login]) -> Work:
    """Append ends of sessions as the reference does: an event and the head, and no row."""

    def work(recorder: Recorder, rng: random.Random) -> None:
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(20_000)
        for login in rng.sample(shared, 4):
            time.sleep(rng.random() / 5)
            with recorder.call(STRANGER, handle=login.handle) as answer, connection:
                _append(connection, login.handle)
                answer.done()

    return work


def _append(connection: apsw.Connection, handle: str) -> None:
    topic = "orchestrator.sessions"
    connection.execute("UPDATE topic_heads SET last_id = last_id + 1 WHERE topic = ?", (topic,))
    payload = {"expired_at": "2020-01-01T00:00:00Z", "token_handle": handle}
    connection.execute(
        "INSERT INTO events (topic, event_id, kind, payload, headers, occurred_at_ms)"
        " SELECT topic, last_id, 'session_expired', ?, '{}', 1 FROM topic_heads WHERE topic = ?",
        (msgspec.json.encode(payload), topic),
    )


def _over_the_limit(url: str) -> Iterator[str]:
    """Whether there were ever more live sessions of the principal than may be."""
    with SessionStore.open(url, policy=POLICY) as store:
        owners: dict[str, str] = {}
        live: dict[str, set[str]] = defaultdict(set)
        for event in store.events():
            handle = handle_in(event.payload)
            if event.kind == "session_created":
                owners[handle] = msgspec.json.decode(event.payload)["record"]["principal"]
                live[owners[handle]].add(handle)
            elif event.kind == "session_expired":
                live[owners.get(handle, "")].discard(handle)
            if len(live[LIMITED]) > MOST_LIVE:
                yield f"{len(live[LIMITED])} live sessions of a principal after event {event.id}"
