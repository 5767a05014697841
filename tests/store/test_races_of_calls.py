"""Every pair of calls that may race: what was acknowledged is kept, and what is over stays over.

By default a few rounds; the slow tests race some hundred.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from sessionledger import HistoryEntry
from sessionledger.core.token import Handle, digest, handle_of
from tests.store.racing import Answer, Arena, call, fresh, opened_arena
from tests.store.test_store import some

SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
MOST = 3
REFUSED = ("rotation_limit_reached", "session_limit_reached")

ROUNDS = pytest.mark.parametrize("rounds", [10, pytest.param(300, marks=pytest.mark.slow)])


ARENAS = ["threads-memory", "threads-sqlite", "threads-file", "processes-sqlite", "processes-file"]


@pytest.fixture(scope="module", params=ARENAS)
def arena(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Arena]:
    with ExitStack() as opened:
        racing = opened_arena(request.param, tmp_path_factory.mktemp("races") / "ledger", opened)
        yield racing
        check_whole(racing)


def check_whole(arena: Arena) -> None:
    """After all races: the chain holds, and the rows are what the events fold to."""
    assert arena.store.verify().ok
    assert "row_differs" not in {finding.code for finding in arena.store.diagnose()}
    rows = list(arena.store.sessions(state="all", superseded=True))
    arena.store.rebuild()
    assert list(arena.store.sessions(state="all", superseded=True)) == rows


def handle(token: str) -> Handle:
    return handle_of(digest(token))


def history(arena: Arena, token: str) -> list[HistoryEntry]:
    return list(arena.store.history(handle=handle(token)))


def ends(entries: list[HistoryEntry]) -> list[HistoryEntry]:
    return [entry for entry in entries if entry.kind == "session_expired"]


def begun(arena: Arena, **told: Any) -> str:
    """The token of a new session."""
    token = fresh()
    arena.store.create(**{"principal": fresh("user-"), "token": token} | told)
    return token


def versions(answers: list[Answer]) -> list[int]:
    return [answer.version for answer in answers if answer.found]


@ROUNDS
def test_no_patch_is_lost(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena)
        answers = arena.race(
            *[call("patch", token=token, changes={f"own{n}": n, "shared": n}) for n in range(4)]
        )
        for n, answer in enumerate(answers):
            assert answer.attributes is not None
            assert answer.attributes[f"own{n}"] == answer.attributes["shared"] == n
        last = max(answers, key=lambda answer: answer.version)
        found = some(arena.store.get(token))
        assert found.attributes == last.attributes
        assert found.attributes.keys() == {"shared", "own0", "own1", "own2", "own3"}
        assert len(history(arena, token)) == 5


@ROUNDS
def test_of_patches_at_one_version_one_wins(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena)
        version = some(arena.store.get(token)).version
        told: dict[str, Any] = {"token": token, "if_version": version}
        answers = arena.race(*[call("patch", changes={"n": n}, **told) for n in range(4)])
        (winner,) = [answer for answer in answers if answer.found]
        assert [answer.error for answer in answers].count("version_conflict") == 3
        assert some(arena.store.get(token)).attributes == winner.attributes


@ROUNDS
@pytest.mark.parametrize("how", ["expire", "revoke"])
def test_no_patch_or_touch_undoes_an_end(arena: Arena, rounds: int, how: str) -> None:
    for _ in range(rounds):
        token = begun(arena)
        by: dict[str, Any] = {"token": token} if how == "expire" else {"handle": handle(token)}
        later = (arena.clock.now + 9 * HOUR).isoformat()
        now = arena.clock.now.isoformat()
        ended, *others = arena.race(
            call(how, **by),
            call("patch", token=token, changes={"n": 1}),
            call("touch", token=token, last_seen_at=now, expires_at=later),
            call("reauthenticate", token=token),
        )
        assert ended.found
        assert all(version < ended.version for version in versions(others))
        entries = history(arena, token)
        assert ends(entries) == entries[-1:]
        assert len(entries) == 2 + len(versions(others))
        assert arena.store.get(token) is None


@ROUNDS
def test_no_request_brings_back_what_is_ended(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena)
        arena.clock.advance(601 * SECOND)
        ended, *seen = arena.race(
            call("expire", token=token), *[call("authenticate", token=token)] * 3
        )
        assert ended.found
        entries = history(arena, token)
        assert ends(entries) == entries[-1:]
        # However many asked, one wrote it down, if any.
        assert len(entries) <= 3
        assert not any(answer.error for answer in seen)
        assert arena.store.authenticate(token) is None


@ROUNDS
def test_requests_at_once_write_once(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena)
        arena.clock.advance(601 * SECOND)
        answers = arena.race(*[call("authenticate", token=token)] * 4)
        assert all(answer.found for answer in answers)
        assert len(history(arena, token)) == 2


@ROUNDS
def test_rotations_at_once_make_siblings(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena, attributes={"cart": [1]})
        answers = arena.race(*[call("rotate", token=token)] * 4)
        assert all(answer.found for answer in answers)
        old = some(arena.store.get(token))
        assert set(old.successors) == {answer.handle for answer in answers}
        assert len(old.successors) == 4
        assert old.expires_at == arena.clock.now + 30 * SECOND
        for answer in answers:
            assert answer.token is not None
            successor = some(arena.store.get(answer.token))
            assert successor.family == old.handle
            assert successor.attributes == {"cart": [1]}


@ROUNDS
def test_rotations_without_grace_have_one_winner(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena)
        answers = arena.race(*[call("rotate", token=token, grace=0)] * 4)
        assert len(versions(answers)) == 1
        assert not any(answer.error for answer in answers)
        assert arena.store.get(token) is None


@ROUNDS
def test_no_more_successors_than_eight(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena)
        for _ in range(6):
            arena.store.rotate(token)
        answers = arena.race(*[call("rotate", token=token)] * 4)
        assert [answer.error for answer in answers].count("session_limit_reached") == 2
        assert len(some(arena.store.get(token)).successors) == 8


@ROUNDS
@pytest.mark.parametrize("how", ["expire", "revoke", "revoke_all"])
def test_no_ghost_survives_a_rotation_that_races_an_end(
    arena: Arena, rounds: int, how: str
) -> None:
    for _ in range(rounds):
        principal = fresh("user-")
        token = begun(arena, principal=principal)
        ways: dict[str, dict[str, Any]] = {
            "expire": {"token": token},
            "revoke": {"handle": handle(token)},
            "revoke_all": {"principal": principal},
        }
        _, *answers = arena.race(call(how, **ways[how]), *[call("rotate", token=token)] * 3)
        assert not any(answer.error for answer in answers)
        assert arena.store.count(principal=principal) == 0
        for answer in answers:
            assert answer.token is None or arena.store.get(answer.token) is None


@ROUNDS
@pytest.mark.parametrize("how", ["expire", "revoke"])
def test_no_sibling_survives_the_end_of_its_family(arena: Arena, rounds: int, how: str) -> None:
    for _ in range(rounds):
        principal = fresh("user-")
        old = begun(arena, principal=principal)
        first = arena.store.rotate(old)
        assert first is not None
        _, *answers = arena.race(
            call("expire", token=first.token)
            if how == "expire"
            else call("revoke", handle=first.handle),
            call("rotate", token=first.token),
            *[call("rotate", token=old)] * 2,
        )
        assert not any(answer.error for answer in answers)
        assert arena.store.count(principal=principal) == 0


@ROUNDS
def test_no_ghost_survives_a_login_that_races_a_back_channel_logout(
    arena: Arena, rounds: int
) -> None:
    for _ in range(rounds):
        principal, sid = fresh("user-"), fresh("sid-")
        token = begun(arena, principal="anonymous", external_id=sid)
        _, login = arena.race(
            call("revoke_all", external_id=sid),
            call("rotate", token=token, principal=principal),
        )
        assert list(arena.store.sessions(external_id=sid)) == []
        assert login.token is None or arena.store.get(login.token) is None


@ROUNDS
def test_a_patch_through_the_old_token_reaches_every_successor(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        token = begun(arena)
        one, two, first, second = arena.race(
            call("patch", token=token, changes={"one": 1}),
            call("patch", token=token, changes={"two": 2}),
            *[call("rotate", token=token)] * 2,
        )
        assert one.found
        assert two.found
        for answer in (first, second):
            assert answer.token is not None
            assert some(arena.store.get(answer.token)).attributes == {"one": 1, "two": 2}


@ROUNDS
def test_reuse_ends_what_is_touched_and_rotated_meanwhile(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        principal = fresh("user-")
        old = begun(arena, principal=principal)
        successor = arena.store.rotate(old)
        assert successor is not None
        arena.clock.advance(90 * SECOND)
        reused, again, _, _ = arena.race(
            call("authenticate", token=old),
            call("rotate", token=old),
            call("touch", token=successor.token),
            call("rotate", token=successor.token),
        )
        assert not reused.found
        assert not again.found
        assert arena.store.count(principal=principal) == 0
        # The rotation may have ended it before, since its grace was long over.
        assert [one.cause for one in ends(history(arena, old))].count("reused") == 1


@ROUNDS
def test_no_race_of_creates_gets_round_a_limit(arena: Arena, rounds: int) -> None:
    for number in range(rounds):
        principal = fresh("user-")
        had = number % (MOST + 1)
        for _ in range(had):
            begun(arena, principal=principal)
        told: dict[str, Any] = {"principal": principal, "policy": "denying"}
        answers = arena.race(*[call("create", **told)] * 4)
        assert len(versions(answers)) == MOST - had
        denied = [answer.error for answer in answers if not answer.found]
        assert set(denied) <= {"session_limit_reached"}
        assert arena.store.count(principal=principal) == MOST


@ROUNDS
def test_no_race_of_creates_evicts_too_few_or_too_many(arena: Arena, rounds: int) -> None:
    for number in range(rounds):
        principal = fresh("user-")
        for _ in range(number % (MOST + 1)):
            begun(arena, principal=principal)
        told: dict[str, Any] = {"principal": principal, "policy": "evicting"}
        answers = arena.race(*[call("create", **told)] * 4)
        assert all(answer.found for answer in answers)
        assert arena.store.count(principal=principal) == MOST
        newest = max(answers, key=lambda answer: answer.version)
        assert newest.token is not None
        assert arena.store.get(newest.token) is not None


@ROUNDS
def test_no_race_of_logins_gets_round_a_limit(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        principal = fresh("user-")
        begun(arena, principal=principal)
        visitors = [begun(arena, principal=fresh("visitor-")) for _ in range(2)]
        told: dict[str, Any] = {"principal": principal, "policy": "denying"}
        answers = arena.race(
            *[call("create", **told)] * 2,
            *[call("rotate", token=token, **told) for token in visitors],
        )
        assert len(versions(answers)) == MOST - 1
        assert arena.store.count(principal=principal) == MOST


@ROUNDS
def test_nothing_lives_that_was_touched_while_all_were_revoked(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        principal = fresh("user-")
        tokens = [begun(arena, principal=principal) for _ in range(3)]
        revoked, *touched = arena.race(
            call("revoke_all", principal=principal),
            *[call("touch", token=token) for token in tokens],
        )
        assert revoked.number == 3
        assert arena.store.count(principal=principal) == 0
        for token, answer in zip(tokens, touched, strict=True):
            entries = history(arena, token)
            assert ends(entries) == entries[-1:]
            assert len(entries) == 2 + answer.found


@ROUNDS
def test_what_is_revoked_and_what_is_begun_are_told_apart(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        principal = fresh("user-")
        begun(arena, principal=principal)
        revoked, *created = arena.race(
            call("revoke_all", principal=principal), *[call("create", principal=principal)] * 3
        )
        entries = list(arena.store.history(principal=principal))
        moment = [entry.event_id for entry in ends(entries)]
        assert revoked.number == len(moment)
        # One unit: whatever was begun before it is over, whatever was begun after it is live.
        assert moment == list(range(moment[0], moment[0] + len(moment)))
        for answer in created:
            assert answer.token is not None
            live = arena.store.get(answer.token) is not None
            assert live == (answer.version > moment[-1])
            assert answer.version not in range(moment[0], moment[-1])


def sweep_all(arena: Arena) -> None:
    """End whatever lapsed in other tests."""
    arena.clock.advance(2 * HOUR)
    while arena.store.sweep():
        pass


@ROUNDS
def test_each_lapsed_session_is_swept_once_or_renewed(arena: Arena, rounds: int) -> None:
    sweep_all(arena)
    for _ in range(rounds):
        token = begun(arena)
        seen = arena.clock.now
        arena.clock.advance(2 * HOUR)
        told: dict[str, Any] = {"last_seen_at": seen.isoformat()}
        told["expires_at"] = (arena.clock.now + HOUR).isoformat()
        one, two, touched = arena.race(
            call("sweep"), call("sweep"), call("touch", token=token, **told)
        )
        assert one.number is not None
        assert two.number is not None
        entries = history(arena, token)
        assert len(ends(entries)) == (not touched.found)
        assert (arena.store.get(token) is not None) == touched.found
        assert arena.store.sweep() == 0


@ROUNDS
def test_of_processes_that_sweep_each_ends_others(arena: Arena, rounds: int) -> None:
    for _ in range(max(1, rounds // 10)):
        sweep_all(arena)
        before = arena.store.head().id
        for _ in range(20):
            begun(arena)
        arena.clock.advance(2 * HOUR)
        arena.store.sweep(limit=1)
        answers = arena.race(*[call("sweep", limit=9)] * 4)
        swept = sum(answer.number or 0 for answer in answers) + 1
        rest = arena.store.sweep()
        ended = arena.store.head().id - before - 20
        assert swept + rest == ended


@ROUNDS
def test_nobody_outlives_a_change_of_credentials(arena: Arena, rounds: int) -> None:
    """Whoever holds a token of before, and rotates it at the same moment."""
    for _ in range(rounds):
        principal = fresh("user-")
        first = begun(arena, principal=principal)
        held = arena.store.rotate(first)
        assert held is not None
        changed, begins, *flights = arena.race(
            call("change_credentials", token=held.token),
            call("create", principal=principal),
            call("rotate", token=held.token),
            call("rotate", token=first),
        )
        assert changed.token is not None
        assert arena.store.get(changed.token) is not None
        tokens = [first, held.token, *[one.token for one in flights if one.token is not None]]
        assert not any(map(arena.store.get, tokens))
        left = {one.handle for one in arena.store.sessions(principal=principal, superseded=True)}
        assert left - {begins.handle} == {changed.handle}
        assert (begins.handle in left) == (begins.version > changed.version)


@ROUNDS
def test_nobody_outlives_a_log_out_everywhere(arena: Arena, rounds: int) -> None:
    for _ in range(rounds):
        principal = fresh("user-")
        first = begun(arena, principal=principal)
        held = arena.store.rotate(first)
        assert held is not None
        out, changed, begins, fled = arena.race(
            call("log_out_everywhere", token=held.token),
            call("change_credentials", token=first),
            call("create", principal=principal),
            call("rotate", token=held.token),
        )
        tokens = [first, held.token, *[one.token for one in (fled,) if one.token is not None]]
        assert not any(map(arena.store.get, tokens))
        left = {one.handle for one in arena.store.sessions(principal=principal, superseded=True)}
        # Ended before it came, or after: then it ended nobody, or all that had begun.
        assert left <= {changed.handle, begins.handle}
        assert out.number in range(4)


@ROUNDS
def test_no_race_gets_round_the_limit_of_rotations(arena: Arena, rounds: int) -> None:
    for _ in range(max(1, rounds // 10)):
        token = begun(arena)
        lines = [token] * 4
        accepted = 0
        for _ in range(9):
            answers = arena.race(*[call("rotate", token=line) for line in lines])
            accepted += sum(one.found for one in answers)
            assert {one.error for one in answers} <= {None, *REFUSED}
            lines = [one.token or line for one, line in zip(answers, lines, strict=True)]
        assert accepted == 30
        members = arena.store.sessions(
            principal=some(arena.store.get(lines[0])).principal, superseded=True
        )
        assert len(list(members)) <= 32
        arena.clock.advance(HOUR)


@ROUNDS
@pytest.mark.parametrize("end", ["revoke", "expire", "revoke_all"])
def test_no_child_outlives_a_parent_that_ends_while_it_is_begun(
    arena: Arena, rounds: int, end: str
) -> None:
    for round in range(rounds):
        who = fresh("user-")
        parent = begun(arena, principal=who)
        if round % 2:
            begun(arena, parent=parent)
        named: dict[str, dict[str, str]] = {
            "revoke": {"handle": handle(parent)},
            "expire": {"token": parent},
        }
        how = call(end, **named.get(end, {"principal": who}))
        first, second, _, third = arena.race(
            call("create", principal="bot", parent=parent),
            call("create", principal="bot", parent=handle(parent)),
            how,
            call("rotate", token=parent, grace=30),
        )
        for answer in (first, second):
            assert answer.error in (None, "invalid_session")
        tokens = [answer.token for answer in (first, second, third) if answer.token is not None]
        assert not any(arena.store.get(token) for token in (parent, *tokens))
