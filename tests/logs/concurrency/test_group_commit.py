"""Group commit, with real threads and a commit that is held up by events, not by time."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from time import monotonic

import pytest

from sessionledger import Appended, Change, LogTimeout, LogUnavailable, Unit
from sessionledger.logs.base import Outcome
from sessionledger.logs.concurrency import group_commit
from sessionledger.logs.concurrency.group_commit import Batch, GroupCommit
from sessionledger.testing.fixtures import PATIENCE, event, until

UNIT = Unit([Change(event())])


class Stop(BaseException):
    """Interrupts like KeyboardInterrupt, and is nobody else's."""


class Commits:
    """A commit function that waits for leave, and knows what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.entered = threading.Semaphore(0)
        self.leave = threading.Semaphore(0)
        self.error: BaseException | None = None

    def __call__(self, batches: Sequence[Batch], until: float) -> None:
        self.batches.append([batch.topic for batch in batches])
        self.entered.release()
        assert self.leave.acquire(timeout=PATIENCE)
        error, self.error = self.error, None
        if error is not None:
            raise error
        for batch in batches:
            batch.outcomes = [Appended((len(self.batches),))]


class Caller(threading.Thread):
    """A thread that appends once."""

    def __init__(self, group: GroupCommit, name: str) -> None:
        super().__init__(daemon=True, name=name)
        self._group = group
        self.answer: list[Outcome] | None = None
        self.error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.answer = self._group.append(self.name, [UNIT])
        except BaseException as error:
            self.error = error

    def interrupt(self) -> None:
        """Raise `Stop` in it, at the next instruction it runs."""
        assert self.ident is not None
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self.ident), ctypes.py_object(Stop)
        )

    def finish(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive(), f"{self.name} is stranded"


class Scene:
    """A group commit, and callers that come while the first one is held up."""

    def __init__(self, timeout: float = PATIENCE) -> None:
        self.commits = Commits()
        self.group = GroupCommit(self.commits, timeout)
        self.callers: list[Caller] = []

    def call(self, name: str) -> Caller:
        """Another caller; returns once it is in line, or leads."""
        expected = len(self.group._pending) + 1
        leads = self.group._leader is None
        self.callers.append(Caller(self.group, name))
        if leads:
            assert self.commits.entered.acquire(timeout=PATIENCE)
        else:
            until(lambda: len(self.group._pending) == expected)
        return self.callers[-1]

    def let_go(self, times: int = 1) -> None:
        self.commits.leave.release(times)

    def finish(self) -> None:
        self.let_go(100)
        for caller in self.callers:
            caller.finish()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_who_comes_meanwhile_shares_the_next_commit(scene: Scene) -> None:
    for name in "abcd":
        scene.call(name)
    scene.finish()
    assert scene.commits.batches == [["a"], ["b", "c", "d"]]
    assert [caller.answer for caller in scene.callers] == [
        [Appended((1,))],
        [Appended((2,))],
        [Appended((2,))],
        [Appended((2,))],
    ]


def test_one_alone_waits_for_nobody(scene: Scene) -> None:
    for name in "ab":
        scene.call(name)
        scene.finish()
        scene.commits.leave = threading.Semaphore(0)
    assert scene.commits.batches == [["a"], ["b"]]


def test_an_error_reaches_everybody_of_its_batch_and_nobody_else(scene: Scene) -> None:
    scene.call("a")
    scene.call("b")
    scene.call("c")
    scene.let_go()
    assert scene.commits.entered.acquire(timeout=PATIENCE)
    scene.commits.error = LogUnavailable("full")
    scene.let_go()
    for caller in scene.callers:
        caller.finish()
    late = scene.call("d")
    scene.finish()
    a, b, c, _ = scene.callers
    assert a.error is None
    assert isinstance(b.error, LogUnavailable)
    assert isinstance(c.error, LogUnavailable)
    assert late.answer == [Appended((3,))]


def test_an_interrupted_leader_strands_nobody(scene: Scene) -> None:
    leader = scene.call("a")
    scene.call("b")
    scene.call("c")
    scene.commits.error = Stop()
    scene.finish()
    assert isinstance(leader.error, Stop)
    assert scene.commits.batches == [["a"], ["b", "c"]]
    assert [caller.answer for caller in scene.callers[1:]] == [[Appended((2,))]] * 2


def test_who_shared_an_interrupted_commit_is_told_that_it_is_unknown(scene: Scene) -> None:
    scene.call("a")
    scene.call("b")
    scene.call("c")
    scene.let_go()
    assert scene.commits.entered.acquire(timeout=PATIENCE)
    scene.commits.error = Stop()
    scene.finish()
    errors = [caller.error for caller in scene.callers[1:]]
    assert {type(error) for error in errors} == {Stop, LogUnavailable}


def abandon(scene: Scene, caller: Caller) -> None:
    """Interrupt a caller that waits in line, and wait until it knows.

    A lock that is waited for is not interrupted before it is had, so the wait itself is broken
    off in the way that an interrupted wait on the main thread is.
    """
    (ticket,) = [one for one in scene.group._pending if one.topic == caller.name]
    caller.interrupt()
    ticket._asleep.release()
    caller.finish()
    assert isinstance(caller.error, Stop)


def test_an_interrupted_waiter_is_committed_all_the_same(scene: Scene) -> None:
    scene.call("a")
    abandon(scene, scene.call("b"))
    scene.call("c")
    scene.finish()
    assert scene.commits.batches == [["a"], ["b", "c"]]
    assert scene.callers[2].answer == [Appended((2,))]


def test_when_all_waiters_are_interrupted_the_leader_commits_for_them(scene: Scene) -> None:
    leader = scene.call("a")
    abandon(scene, scene.call("b"))
    scene.finish()
    assert scene.commits.batches == [["a"], ["b"]]
    assert leader.answer == [Appended((1,))]


def test_an_interrupted_leader_with_only_interrupted_waiters_strands_nobody(scene: Scene) -> None:
    leader = scene.call("a")
    abandon(scene, scene.call("b"))
    scene.commits.error = Stop()
    scene.finish()
    assert isinstance(leader.error, Stop)
    scene.callers.clear()
    late = scene.call("late")
    scene.finish()
    assert late.error is None
    assert scene.commits.batches == [["a"], ["b"], ["late"]]


@pytest.mark.parametrize("threads", [2, 16])
def test_all_of_many_callers_are_answered_once(threads: int) -> None:
    seen: list[str] = []

    def commit(batches: Sequence[Batch], until: float) -> None:
        for batch in batches:
            seen.append(batch.topic)
            batch.outcomes = [Appended((len(seen),))]

    group = GroupCommit(commit, PATIENCE)
    answers: list[list[Outcome]] = []

    def run(number: int) -> None:
        for n in range(50):
            answers.append(group.append(f"{number}-{n}", [UNIT]))

    workers = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(PATIENCE)
        assert not worker.is_alive()
    assert len(set(seen)) == len(seen) == len(answers) == threads * 50


def test_who_was_taken_by_an_interrupted_leader_is_committed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.call("a")
    leader = scene.call("b")
    bystander = scene.call("c")
    begin, stops = scene.group._begin, [Stop()]

    def interrupted() -> None:
        # Between two lines of the leader's: it has the batch, and has not begun to commit it.
        if stops and threading.current_thread() is leader:
            raise stops.pop()
        begin()

    monkeypatch.setattr(scene.group, "_begin", interrupted)
    scene.finish()
    assert isinstance(leader.error, Stop)
    assert bystander.answer == [Appended((2,))]
    assert scene.commits.batches == [["a"], ["b", "c"]]


@pytest.mark.parametrize("raised", [TimeoutError("a time limit"), RuntimeError("a handler's")])
def test_what_a_signal_handler_raises_reaches_the_leader_alone(
    scene: Scene, raised: Exception
) -> None:
    scene.call("a")
    scene.call("b")
    scene.call("c")
    scene.let_go()
    assert scene.commits.entered.acquire(timeout=PATIENCE)
    scene.commits.error = raised
    scene.finish()
    errors = {type(caller.error) for caller in scene.callers[1:]}
    assert errors == {type(raised), LogUnavailable}


def test_who_appends_from_within_its_own_append_is_refused() -> None:
    def commit(batches: Sequence[Batch], until: float) -> None:
        with pytest.raises(LogUnavailable, match="signal handler"):
            group.append("again", [UNIT])
        for batch in batches:
            batch.outcomes = [Appended((1,))]

    group = GroupCommit(commit, PATIENCE)
    assert group.append("a", [UNIT]) == [Appended((1,))]
    assert group.append("b", [UNIT]) == [Appended((1,))]


@pytest.fixture
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, "GRACE_SECONDS", 0.05)


@pytest.mark.usefixtures("no_grace")
def test_whoever_waits_behind_a_leader_that_stands_still_leaves_and_is_not_written() -> None:
    scene = Scene(timeout=0.05)
    scene.call("a")
    late = scene.call("b")
    late.finish()
    assert isinstance(late.error, LogTimeout)
    assert "nothing was written" in str(late.error)
    scene.finish()
    scene.callers.clear()
    scene.call("c")
    scene.finish()
    assert scene.commits.batches == [["a"], ["c"]]


@pytest.mark.usefixtures("no_grace")
def test_whose_write_is_just_being_committed_is_told_that_it_may_be_written() -> None:
    scene = Scene(timeout=1.0)
    scene.call("a")
    scene.call("b")
    late = scene.call("c")
    scene.let_go()
    assert scene.commits.entered.acquire(timeout=PATIENCE)
    late.finish()
    assert type(late.error) is LogUnavailable
    assert "it may be written" in str(late.error)
    assert "same call again" in str(late.error)
    scene.finish()
    assert scene.commits.batches == [["a"], ["b", "c"]]


def test_a_turn_that_is_not_had_fails_the_batch_and_not_those_who_came_meanwhile(
    scene: Scene,
) -> None:
    scene.call("a")
    scene.call("b")
    scene.commits.error = LogTimeout("another process writes")
    scene.finish()
    assert [type(caller.error) for caller in scene.callers] == [LogTimeout, type(None)]
    assert scene.commits.batches == [["a"], ["b"]]


def test_a_leader_waits_no_longer_than_its_own_time() -> None:
    seen: list[float] = []

    def commit(batches: Sequence[Batch], until: float) -> None:
        seen.append(until)
        for batch in batches:
            batch.outcomes = [Appended((1,))]

    group = GroupCommit(commit, timeout=5.0)
    before = monotonic()
    group.append("a", [UNIT])
    group.append("b", [UNIT], until=before + 1)
    assert before + 5 <= seen[0] <= monotonic() + 5
    assert seen[1] == before + 1
