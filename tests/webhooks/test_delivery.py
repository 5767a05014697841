"""Deliveries to a real HTTP server: all, in order, at least once, and no further than they may."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from httpcore import AsyncConnectionPool

from sessionledger import AsyncSessionStore, LogTimeout, SessionStore, open_log
from sessionledger.testing.fixtures import PATIENCE, until
from sessionledger.webhooks import attempts, delivery
from sessionledger.webhooks.attempts import Attempt
from sessionledger.webhooks.delivery import Source
from sessionledger.webhooks.endpoint_file import EndpointFile
from sessionledger.webhooks.endpoints import Endpoint, new_endpoint, succeeded
from sessionledger.webhooks.messages import FOR_ALL
from tests.webhooks.receiving import Receiver
from tests.webhooks.sending import QUICK, TOPIC, Scene, delivering_elsewhere

LONG_AGO = datetime.now(UTC) - timedelta(days=100)


def test_events_are_told_in_order_and_signed(scene: Scene, receiver: Receiver) -> None:
    endpoint = scene.add()
    issued = scene.store.create("alice")
    with scene.delivering():
        scene.store.touch(issued.token)
        scene.store.revoke(handle=issued.handle, reason="lost")
        got = receiver.wait_for(2)
    created, expired = (one.verified(endpoint.secret) for one in got)
    assert (created["type"], created["data"]["principal"]) == ("session.created", "alice")
    assert (expired["type"], expired["data"]["reason"]) == ("session.expired", "lost")
    assert [one.id for one in got] == [f"msg_{endpoint.id}_1", f"msg_{endpoint.id}_3"]
    assert {one.headers["content-type"] for one in got} == {"application/json"}
    assert issued.token not in str(got)


def test_only_what_is_wanted_is_told(scene: Scene, receiver: Receiver) -> None:
    scene.add(["session.touched", "session.created"], ["bob"])
    for principal in ("alice", "bob", "carol"):
        scene.store.touch(scene.store.create(principal).token)
    with scene.delivering():
        receiver.wait_for(2)
        scene.store.create("bob")
        receiver.wait_for(3)
    assert receiver.events == [3, 4, 7]


@pytest.mark.parametrize("principals", [[], ["carol"]])
def test_calls_that_end_many_sessions_are_told_once_with_their_reason(
    scene: Scene, receiver: Receiver, principals: list[str]
) -> None:
    """Also to an endpoint of some principals: it can't be told whether theirs are among them."""
    endpoint = scene.add(principals=principals, types=FOR_ALL)
    for principal in ("alice", "bob"):
        scene.store.create(principal)
    with scene.delivering():
        scene.store.revoke_where(principals="alice", reason="left", actor="ops")
        scene.store.revoke_everybody(reason="leak", actor="security")
        scene.store.sweep()
        got = receiver.wait_for(2)
        scene.store.create("carol")
        until(lambda: scene.cursor(endpoint) == scene.store.head().id)
    selection, everybody = (one.verified(endpoint.secret) for one in got)
    assert (selection["type"], everybody["type"]) == ("selection.revoked", "everybody.revoked")
    assert (selection["data"]["reason"], selection["data"]["actor"]) == ("left", "ops")
    assert (everybody["data"]["reason"], everybody["data"]["actor"]) == ("leak", "security")
    assert everybody["data"]["cause"] == "everybody"
    assert [one["data"]["handle"] for one in (selection, everybody)] == [None, None]
    assert receiver.events == [3, 5]


def test_what_was_taken_is_not_told_again_by_the_next_process(
    scene: Scene, receiver: Receiver
) -> None:
    endpoint = scene.add()
    scene.store.create("alice")
    with scene.delivering():
        receiver.wait_for(1)
        until(lambda: scene.cursor(endpoint) == 1)
    scene.store.create("bob")
    with scene.delivering():
        receiver.wait_for(2)
    assert receiver.events == [1, 2]


def test_what_was_not_taken_is_told_again_under_the_same_id(
    scene: Scene, receiver: Receiver
) -> None:
    endpoint = scene.add()
    receiver.answers = [500, 404, 302]
    scene.store.create("alice")
    scene.store.create("bob")
    with scene.delivering():
        got = receiver.wait_for(5)
        until(lambda: scene.cursor(endpoint) == 2)
    assert receiver.events == [1, 1, 1, 1, 2]
    assert len({one.id for one in got}) == 2
    assert len({one.body for one in got[:4]}) == 1
    for one in got:
        one.verified(endpoint.secret)
    assert scene.state() == endpoint


def test_a_redirect_is_not_followed(scene: Scene, receiver: Receiver) -> None:
    scene.add()
    receiver.answers = [f"http://localhost:{receiver.port}/elsewhere"]
    scene.store.create("alice")
    with scene.delivering():
        got = receiver.wait_for(2)
    assert {one.path for one in got} == {"/hook"}


def test_who_never_takes_it_is_disabled_and_can_be_enabled(
    scene: Scene, receiver: Receiver
) -> None:
    endpoint = scene.add()
    receiver.answers = [503] * (len(QUICK) + 1)
    scene.store.create("alice")
    with scene.delivering():
        until(lambda: scene.state().disabled_at is not None)
        found = scene.state()
        assert (found.failures, found.problem) == (len(QUICK) + 1, "answered 503")
        assert receiver.events == [1] * (len(QUICK) + 1)
        scene.store.create("bob")
        assert scene.file.record(endpoint.id, succeeded)
        receiver.wait_for(len(QUICK) + 3)
    assert receiver.events[-2:] == [1, 2]
    assert scene.state() == endpoint


def test_who_is_gone_is_disabled_at_once(scene: Scene, receiver: Receiver) -> None:
    scene.add()
    receiver.answers = [410]
    scene.store.create("alice")
    with scene.delivering():
        until(lambda: scene.state().disabled_at is not None)
    assert receiver.events == [1]


def test_who_waits_for_the_next_attempt_can_be_told_to_try_now(
    scene: Scene, receiver: Receiver
) -> None:
    endpoint = scene.add()
    receiver.answers = [503]
    scene.store.create("alice")
    with scene.delivering(retry_delays=(PATIENCE * 10,)):
        until(lambda: scene.state().failures == 1)
        assert scene.file.record(endpoint.id, succeeded)
        receiver.wait_for(2)
    assert receiver.events == [1, 1]


def test_who_cannot_be_reached_is_told_later(scene: Scene, receiver: Receiver) -> None:
    """Nobody listens on the port of a server that was shut down."""
    other = Receiver()
    with other.running():
        pass
    scene.receiver = other
    scene.add()
    scene.store.create("alice")
    with scene.delivering(retry_delays=(0.001, PATIENCE * 10)):
        until(lambda: scene.state().failures == 2)
    assert scene.state().problem == "can't be reached: ConnectError"


def test_a_host_that_can_not_exist_holds_up_no_other(scene: Scene, receiver: Receiver) -> None:
    """Whoever may make endpoints must not end the deliveries of all."""
    impossible = new_endpoint("https://a..b/")
    scene.file.add(impossible)
    scene.add()
    scene.store.create("alice")
    with scene.delivering():
        receiver.wait_for(1)
        until(lambda: scene.file.read()[0].disabled_at is not None)
        scene.store.create("bob")
        receiver.wait_for(2)
    assert scene.file.read()[0].problem == "can't be reached: OSError"
    assert receiver.events == [1, 2]


def test_a_delivery_that_fails_in_itself_holds_up_no_other(
    scene: Scene,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, _ = scene.add(), scene.add()

    async def failing(pool: AsyncConnectionPool, endpoint: Endpoint, *given: Any) -> Attempt:
        if endpoint.id == broken.id:
            raise RuntimeError("a secret")
        return await attempts.attempt(pool, endpoint, *given)

    monkeypatch.setattr(delivery, "attempt", failing)
    scene.store.create("alice")
    with scene.delivering():
        until(lambda: f"webhook {broken.id} restarts after RuntimeError" in caplog.text)
        scene.store.create("bob")
        receiver.wait_for(2)
    assert receiver.events == [1, 2]
    assert "a secret" not in caplog.text


def test_endpoints_that_come_and_go_are_noticed(scene: Scene, receiver: Receiver) -> None:
    scene.store.create("alice")
    with scene.delivering():
        endpoint = scene.add()
        receiver.wait_for(1)
        assert scene.file.remove(endpoint.id)
        second = scene.add()
        receiver.wait_for(2)
    assert [one.id for one in receiver.got] == [f"msg_{one.id}_1" for one in (endpoint, second)]


def test_a_slow_endpoint_holds_up_no_other(scene: Scene, receiver: Receiver) -> None:
    with Receiver().running() as slow:
        slow.may_answer.clear()
        scene.receiver = slow
        scene.add()
        scene.receiver = receiver
        scene.add()
        scene.store.create("alice")
        with scene.delivering():
            receiver.wait_for(1)
            scene.store.create("bob")
            receiver.wait_for(2)
            slow.may_answer.set()


def test_of_two_processes_one_delivers_and_the_other_takes_over(
    scene: Scene, receiver: Receiver
) -> None:
    """The first is killed while it delivers: nothing is missing, and nothing much told twice."""
    scene.add()
    command = delivering_elsewhere(scene.url)
    processes = [subprocess.Popen(command)]
    try:
        scene.store.create("alice")
        receiver.wait_for(1)
        processes.append(subprocess.Popen(command))
        for number in range(20):
            scene.store.create(f"user-{number}")
        receiver.wait_for(5)
        os.kill(processes[0].pid, signal.SIGKILL)
        processes[0].wait(PATIENCE)
        until(lambda: len(set(receiver.events)) == 21)
    finally:
        for process in processes:
            process.kill()
            process.wait(PATIENCE)
    events = receiver.events
    assert sorted(set(events)) == list(range(1, 22))
    assert events == sorted(events)
    assert len(events) <= 22


def test_a_file_that_is_damaged_delivers_nothing_until_it_is_mended(
    scene: Scene, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = scene.add()
    whole = scene.file.path.read_bytes()
    scene.file.path.write_bytes(b"nonsense")
    scene.store.create("alice")
    with scene.delivering():
        until(lambda: "no webhook is delivered" in caplog.text)
        scene.file.path.write_bytes(whole)
        receiver.wait_for(1)
    assert endpoint.secret not in caplog.text


def test_an_endpoint_that_was_given_up_goes_on_after_the_cut(
    scene: Scene, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    endpoint = scene.add(types=["session.created"])
    with SessionStore(scene.store._log, clock=lambda: LONG_AGO) as store:
        store.create("alice", ttl=timedelta(days=900))
    found = scene.store.compact(retention=timedelta(days=30))
    assert found.sealed
    with scene.delivering():
        scene.store.create("bob")
        (got,) = receiver.wait_for(1)
    assert got.verified(endpoint.secret)["data"]["principal"] == "bob"
    assert f"webhook {endpoint.id} never got events up to {found.cut}" in caplog.text


def test_acknowledgements_wait_in_four_threads_and_no_longer_than_the_ledger_says(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.db'}?timeout=100ms"
    go_on = threading.Event()

    running = set[int]()

    def stand_still() -> None:
        running.add(threading.get_ident())
        assert go_on.wait(PATIENCE)

    async def run() -> None:
        async with AsyncSessionStore.open(url) as store:
            with closing(open_log(url)) as log:
                source = Source(store, log, TOPIC, EndpointFile(tmp_path / "webhooks.json"))
                waits = [source.call(stand_still) for _ in range(9)]
                told = await asyncio.gather(*waits, return_exceptions=True)
                go_on.set()
                assert [type(one) for one in told] == [LogTimeout] * 9
                assert len(running) == 4
                assert await source.call(log.latest, TOPIC) == 0

    asyncio.run(run())
