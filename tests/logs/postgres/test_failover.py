"""A primary is killed, stopped, cut off or replaced: nothing that was acknowledged is lost.

Each test leaves the cluster whole for the next one. They print how long a failover took.
"""

from __future__ import annotations

import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from sessionledger import LogTimeout, LogUnavailable, SessionStore
from sessionledger.logs.postgres.staleness.confirmed_rows import since_boot
from sessionledger.testing.fixtures import until
from tests.logs.postgres.patroni_cluster import TTL, Cluster
from tests.logs.postgres.staleness.test_bound import BOUND, COLOURS, reading
from tests.servers import program
from torture.checker import FORGIVEN, faults
from torture.journal import Entry, Journal
from torture.ledger import POLICY, observe
from torture.writer import USUAL, Login, Writer

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("failover")]

WRITERS, SESSIONS = 4, 120
TIMEOUT = timedelta(seconds=5)
REFUSED = (LogUnavailable, LogTimeout)
CALLS = {name: share for name, share in USUAL.items() if name != "rebuild"}
READS = {"get", "find", "authenticate", "listing"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(synchronous=True) as started:
        yield started


@contextmanager
def running(*, synchronous: bool) -> Iterator[Cluster]:
    for needed in ("etcd", "patroni", "patronictl", "setpriv"):
        program(needed)
    with tempfile.TemporaryDirectory(dir="/tmp", prefix="failover-") as folder:
        found = Cluster(Path(folder), synchronous=synchronous)
        with closing(found):
            found.start()
            yield found


class Load:
    """Writers in threads, each with a store of its own, and what they were answered."""

    def __init__(self, cluster: Cluster) -> None:
        self._url = cluster.url(schema=f"at_{time.monotonic_ns()}")
        self._journal = Journal()
        self._lock = threading.Lock()
        self._over = threading.Event()
        SessionStore.open(self._url).close()
        self._threads = [
            threading.Thread(target=self._work, args=(number,)) for number in range(WRITERS)
        ]
        for thread in self._threads:
            thread.start()

    def goes_on(self, answers: int = 200) -> None:
        """Wait for more answers."""
        before = self._answered()
        until(lambda: self._answered() >= before + answers)

    def position(self) -> int:
        """How many lines the journal has."""
        return len(self._journal.entries)

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def check(self, stale: slice | None = None) -> None:
        """Hold every answer, and the whole ledger, against the journal. What was read meanwhile
        may be `stale`, so it does not count."""
        self.end()
        entries = self._journal.entries
        if stale is not None:
            entries[stale] = [e for e in entries[stale] if not (e.answer and e.call in READS)]
        with SessionStore.open(self._url, policy=POLICY) as store:
            reader = Writer(store, self._journal.recorder(WRITERS), random.Random(0))
            for handle, token in self._journal.tokens().items():
                reader.read(Login(token, handle, ""))
            image = observe(store)
        assert not faults(entries, image, FORGIVEN | {"LogUnavailable", "LogTimeout"})
        assert sum(map(_is_ended, entries)), "nothing was ended"

    def _answered(self) -> int:
        return sum(entry.answer[:1].islower() for entry in self._journal.entries)

    def _work(self, number: int) -> None:
        target = ("read-write", "primary")[number % 2]
        url = f"{self._url}&target_session_attrs={target}"
        with SessionStore.open(url, policy=POLICY, timeout=TIMEOUT) as store:
            recorder = self._journal.recorder(number)
            recorder.send = self._send
            writer = Writer(store, recorder, random.Random(number))
            while not self._over.is_set():
                writer.work(CALLS, 1)

    def _send(self, line: bytes) -> None:
        with self._lock:
            self._journal.feed(line)


def _is_ended(entry: Entry) -> bool:
    return entry.call in {"expire", "revoke"} and entry.answer == "done"


@pytest.fixture
def load(cluster: Cluster) -> Iterator[Load]:
    cluster.wait_until_whole()
    with closing_load(cluster) as started:
        started.goes_on()
        yield started


@contextmanager
def closing_load(cluster: Cluster) -> Iterator[Load]:
    started = Load(cluster)
    try:
        yield started
    finally:
        started.end()


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Callable[[str, float], None]:
    def told(what: str, since: float) -> None:
        with capsys.disabled():
            print(f"\n{what}: {time.monotonic() - since:.1f} s, with a ttl of {TTL} s")

    return told


Tell = Callable[[str, float], None]


def test_a_killed_leader_takes_nothing_along(cluster: Cluster, load: Load, tell: Tell) -> None:
    leader = cluster.leader
    since = time.monotonic()
    leader.kill()
    load.goes_on()
    tell("a leader was killed, and its standby answered writers after", since)
    leader.start()
    cluster.wait_until_whole()
    load.goes_on()
    load.check()


def test_a_leader_whose_server_alone_is_killed_takes_nothing_along(
    cluster: Cluster, load: Load
) -> None:
    leader = cluster.leader
    _, *server = leader.pids()
    leader.signal(signal.SIGKILL, server)
    until(lambda: not leader.is_primary)
    load.goes_on()
    cluster.wait_until_whole()
    load.goes_on()
    load.check()


def test_a_paused_leader_acknowledges_nothing_when_it_resumes(
    cluster: Cluster, load: Load, tell: Tell
) -> None:
    leader = cluster.leader
    since = time.monotonic()
    with leader.paused():
        load.goes_on()
        tell("a leader was stopped, and its standby answered writers after", since)
        since = time.monotonic()
        begin = load.position()
    until(lambda: not leader.is_primary)
    tell("it was resumed, and may have answered reads for", since)
    load.goes_on()
    stale = slice(begin, load.position())
    cluster.wait_until_whole()
    load.goes_on()
    load.check(stale)


def test_a_switchover_loses_nothing(cluster: Cluster, load: Load, tell: Tell) -> None:
    for _ in range(2):
        since = time.monotonic()
        cluster.switch_over()
        load.goes_on()
        tell("switched over, and answered writers after", since)
        cluster.wait_until_whole()
    load.goes_on()
    load.check()


def test_a_leader_that_is_cut_off_stops_answering_and_is_rewound(
    cluster: Cluster, load: Load, tell: Tell
) -> None:
    leader = cluster.leader
    own, others = cluster.url(leader.own_address), cluster.url()
    with SessionStore.open(own, timeout=TIMEOUT) as near, SessionStore.open(others) as far:
        token = near.create("alice").token
        since = time.monotonic()
        with leader.cut_off():
            with pytest.raises(REFUSED):
                near.create("bob")
            until(lambda: refuses(lambda: near.get(token)))
            tell("a leader was cut off, and answered reads on its own side for", since)
            until(lambda: cluster.other(leader).is_primary)
            until(lambda: not refuses(lambda: far.expire(token)))
            tell("its standby answered writers after", since)
            load.goes_on()
        cluster.wait_until_whole()
        assert far.get(token) is None
        assert far.count(principal="bob") == 0
    assert "running pg_rewind" in (leader.folder / "log").read_text()
    load.goes_on()
    load.check()


def test_a_leader_without_its_patroni_acknowledges_nothing_and_still_answers_reads(
    cluster: Cluster,
) -> None:
    """What Patroni's watchdog is for: docs/postgresql.md."""
    cluster.wait_until_whole()
    leader = cluster.leader
    successor = cluster.other(leader)
    with SessionStore.open(cluster.url(leader.own_address), timeout=TIMEOUT) as near:
        token = near.create("alice").token
        leader.kill_patroni()
        until(lambda: successor.is_primary)
        with SessionStore.open(cluster.url(successor.own_address)) as far:
            assert far.expire(token) is not None
            assert near.get(token) is not None, "it does not know of its successor"
            assert refuses(lambda: near.create("bob"))
            assert refuses(lambda: near.expire(token))
            leader.start()
            cluster.wait_until_whole()
            assert refuses(lambda: near.get(token))
            assert far.get(token) is None
            assert far.count(principal="bob") == 0


@contextmanager
def killed(cluster: Cluster) -> Iterator[None]:
    leader = cluster.leader
    leader.kill()
    yield
    leader.start()


@contextmanager
def paused(cluster: Cluster) -> Iterator[None]:
    with cluster.leader.paused():
        yield


@contextmanager
def switched_over(cluster: Cluster) -> Iterator[None]:
    cluster.switch_over()
    yield


@pytest.mark.parametrize("changed", [killed, paused, switched_over])
def test_answers_from_memory_keep_to_their_bound(
    cluster: Cluster, changed: Callable[[Cluster], AbstractContextManager[None]]
) -> None:
    """However long it takes until somebody leads again, and the old leader is back."""
    cluster.wait_until_whole()
    successor = cluster.other(cluster.leader)
    url = cluster.url(schema=f"at_{time.monotonic_ns()}")
    with SessionStore.open(url, timeout=TIMEOUT) as store, ExitStack() as stack:
        tokens = [store.create(f"user {number}").token for number in range(SESSIONS)]
        readers = [stack.enter_context(reading(url, tokens, colour)) for colour in COLOURS]
        ended: dict[str, int] = {}

        def end_all() -> None:
            for token in tokens[SESSIONS // 4 :]:
                until(lambda token=token: not refuses(lambda: store.expire(token)))  # type: ignore[misc]
                ended[token] = since_boot()
                readers[0].reads(len(tokens) // 4)

        ending = threading.Thread(target=end_all)
        ending.start()
        until(lambda: len(ended) > SESSIONS // 4)
        with changed(cluster):
            until(lambda: successor.is_primary)
            before = len(ended)
            ending.join()
            assert before < len(ended) == len(tokens) - SESSIONS // 4
        cluster.wait_until_whole()
        for reader in readers:
            until(reader.is_warm)
            assert reader.most_late(ended) <= BOUND
            assert set(tokens) - set(ended) <= set(reader.told()["last"])


def test_without_synchronous_mode_what_a_cut_off_leader_acknowledged_is_lost() -> None:
    with running(synchronous=False) as cluster:
        leader = cluster.leader
        own, others = cluster.url(leader.own_address), cluster.url()
        with SessionStore.open(own, timeout=TIMEOUT) as near, SessionStore.open(others) as far:
            kept, ended = near.create("alice").token, near.create("bob").token
            ((written,),) = leader.execute("SELECT pg_current_wal_flush_lsn()::text")
            caught_up = f"SELECT pg_last_wal_replay_lsn() >= '{written}'"
            until(lambda: cluster.other(leader).execute(caught_up) == [(True,)])
            with leader.cut_off():
                lost = near.create("carol").token
                assert near.expire(ended) is not None
                until(lambda: cluster.other(leader).is_primary)
                until(lambda: not refuses(lambda: far.get(kept)))
                assert far.get(lost) is None
                assert far.get(ended) is not None, "what was acknowledged as ended is live"
            cluster.wait_until_whole()
            assert far.get(lost) is None
            assert far.verify().ok


def refuses(call: Callable[[], object]) -> bool:
    """Whether a call can't be answered."""
    try:
        call()
    except REFUSED:
        return True
    return False
