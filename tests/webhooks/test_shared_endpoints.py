"""Endpoints that machines share: one process delivers, and others take its place."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest

from sessionledger import (
    AsyncSessionStore,
    CorruptLog,
    DocumentLog,
    LedgerMoved,
    Log,
    LogUnavailable,
    SessionStore,
    WriteContention,
    copy,
    open_log,
)
from sessionledger.testing.fixtures import PATIENCE, until
from sessionledger.webhooks import shared_endpoints
from sessionledger.webhooks.administration import endpoints_of, webhooks_of
from sessionledger.webhooks.delivery import Source
from sessionledger.webhooks.dispatcher import Dispatcher
from sessionledger.webhooks.endpoints import Known, new_endpoint
from sessionledger.webhooks.shared_endpoints import (
    DISPATCHER,
    ENDPOINTS,
    LEASE_SECONDS,
    SharedEndpoints,
    SharedLease,
)
from tests import pgbouncer, postgres_server
from tests.webhooks.receiving import Receiver
from tests.webhooks.sending import TOPIC, delivering_elsewhere
from tests.webhooks.test_endpoints import URL


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with closing(open_log(postgres_server.address(tmp_path))) as log:
        yield log


@pytest.fixture
def documents(log: Log) -> DocumentLog:
    return cast(DocumentLog, log)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(shared_endpoints, "monotonic", clock)
    return clock


def test_a_file_that_was_given_is_that_file(log: Log, tmp_path: Path) -> None:
    assert isinstance(endpoints_of(log), SharedEndpoints)
    given = endpoints_of(log, tmp_path / "given")
    assert str(given) == str(tmp_path / "given")


def test_a_damaged_document_is_named_and_stays(documents: DocumentLog) -> None:
    documents.replace_document(ENDPOINTS, b"", b"nonsense")
    with pytest.raises(CorruptLog, match="webhook endpoints"):
        SharedEndpoints(documents).read()
    with pytest.raises(CorruptLog):
        SharedEndpoints(documents).add(new_endpoint(URL))
    assert documents.document(ENDPOINTS) == b"nonsense"


def test_a_change_that_others_always_overtake_is_given_up(documents: DocumentLog) -> None:
    class Overtaken:
        document = documents.document

        def replace_document(self, name: str, before: bytes, after: bytes) -> bool:
            return False

    with pytest.raises(WriteContention):
        SharedEndpoints(Overtaken()).add(new_endpoint(URL))


def test_one_process_has_the_lease_until_it_gives_it_up(
    documents: DocumentLog, clock: Clock
) -> None:
    one, other = SharedLease(documents), SharedLease(documents)
    assert one.hold()
    for _ in range(20):
        assert not other.hold()
        assert one.hold()
        clock.now += LEASE_SECONDS / 2
    other.release()
    assert one.hold()
    one.release()
    assert other.hold()
    assert not one.hold()


def test_a_lease_that_is_not_renewed_is_taken_over_and_not_before(
    documents: DocumentLog, clock: Clock
) -> None:
    one, other = SharedLease(documents), SharedLease(documents)
    assert one.hold()
    clock.now += LEASE_SECONDS * 10
    # It was not looked at until now, so nobody knows since when nothing is written.
    assert not other.hold()
    clock.now += LEASE_SECONDS - 0.1
    assert not other.hold()
    clock.now += 0.2
    assert other.hold()
    assert not one.hold()
    assert one.seconds_left == 0
    one.release()
    assert other.hold()


def test_the_holder_stops_before_others_begin(documents: DocumentLog, clock: Clock) -> None:
    one, other = SharedLease(documents), SharedLease(documents)
    assert one.hold()
    assert not other.hold()
    while not other.hold():
        clock.now += 0.1
    assert one.seconds_left == 0


def test_a_renewal_whose_answer_was_lost_is_made_again(
    documents: DocumentLog, clock: Clock
) -> None:
    lease = SharedLease(documents)
    assert lease.hold()
    written = documents.document(DISPATCHER)
    lost = written[:16] + b"lost"
    assert documents.replace_document(DISPATCHER, written, lost)
    clock.now += LEASE_SECONDS
    assert lease.seconds_left == 0
    assert lease.hold()
    assert lease.seconds_left == LEASE_SECONDS
    assert documents.document(DISPATCHER) != lost


def test_backups_and_copies_leave_the_secrets_out(tmp_path: Path) -> None:
    old, new = (postgres_server.address(tmp_path / name) for name in ("old", "new"))
    with closing(open_log(old)) as log:
        webhooks = webhooks_of(log, TOPIC)
        assert webhooks is not None
        endpoint = webhooks.add(URL)
        store = SessionStore(log)
        store.create("alice")
        assert not store.diagnose()
        backup = store.backup(tmp_path / "backup").path
        assert endpoint.secret.encode() not in Path(backup).read_bytes()
        assert copy(old, new, cut_over=True).moved
        with pytest.raises(LedgerMoved):
            webhooks.list()
        with pytest.raises(LedgerMoved):
            webhooks.add(URL)
    with closing(open_log(new)) as log:
        copied = webhooks_of(log, TOPIC)
        assert copied is not None
        assert copied.list() == ()
        assert not SessionStore(log).diagnose()


@pytest.mark.middle
def test_a_dispatcher_without_the_ledger_says_so_once_and_goes_on_later(
    log: Log, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    webhooks = webhooks_of(log, TOPIC)
    assert webhooks is not None
    webhooks.add(receiver.url, allow="localhost")
    asked = 0

    class Refusing(SharedEndpoints):
        def read(self) -> Known:
            nonlocal asked
            asked += 1
            if asked < 3:
                raise LogUnavailable("it is restarting")
            return super().read()

    async def deliver() -> None:
        async with AsyncSessionStore(log) as store:
            endpoints = Refusing(cast(DocumentLog, log))
            running = asyncio.create_task(Dispatcher(Source(store, log, TOPIC, endpoints)).run())
            await asyncio.to_thread(receiver.wait_for, 1)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    SessionStore(log).create("alice")
    asyncio.run(deliver())
    assert caplog.text.count("no webhook is delivered: it is restarting") == 1
    assert cast(DocumentLog, log).document(DISPATCHER) == b""


Address = Callable[[Path], str]


def pooled(place: Path) -> str:
    return pgbouncer.address("transaction", place)


@pytest.mark.middle
@pytest.mark.parametrize("address", [postgres_server.address, pooled], ids=["direct", "pooled"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "stopped"])
def test_of_two_machines_one_delivers_and_the_other_takes_over(
    tmp_path: Path, receiver: Receiver, address: Address, end: signal.Signals
) -> None:
    command = delivering_elsewhere(address(tmp_path))
    processes: list[subprocess.Popen[bytes]] = []
    with closing(open_log(address(tmp_path))) as log:
        store, webhooks = SessionStore(log), webhooks_of(log, TOPIC)
        assert webhooks is not None
        endpoint = webhooks.add(receiver.url, allow="localhost")
        try:
            processes.append(subprocess.Popen(command, stderr=subprocess.DEVNULL))
            store.create("alice")
            receiver.wait_for(1)
            processes.append(subprocess.Popen(command))
            for number in range(20):
                store.create(f"user-{number}")
            receiver.wait_for(5)
            os.kill(processes[0].pid, end)
            processes[0].wait(PATIENCE)
            until(lambda: len(set(receiver.events)) == 21)
            store.create("bob")
            until(lambda: 22 in receiver.events)
            until(lambda: log.cursor(TOPIC, endpoint.consumer) == 22)
        finally:
            for process in processes:
                process.kill()
                process.wait(PATIENCE)
    events = receiver.events
    assert sorted(set(events)) == list(range(1, 23))
    assert events == sorted(events)
    assert len(events) <= 23
    assert len({one.id for one in receiver.got}) == 22
