"""A call that timed out may have happened or not. The same call, made again, settles it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sessionledger import AsyncSessionStore, DuplicateSession, IssuedSession, Session, SessionStore
from tests.logs.children import running
from tests.store.conftest import OTHER, TOKEN
from tests.store.facade import PERSISTENT, URLS

pytestmark = pytest.mark.middle

HOLDING = """
import sys
from sessionledger import RowFilter, Rule, SessionStore, Unit
from sessionledger.logs.base import OVER
from sessionledger.store.engine import SESSIONS_TOPIC

def decide(rows):
    print("held", flush=True)
    sys.stdin.readline()
    return []

with SessionStore.open(sys.argv[1]) as store:
    if sys.argv[1].startswith("postgresql"):  # which decides rules before it has the lock
        store._log._change(lambda writer: decide([writer.line(SESSIONS_TOPIC)]))
    else:
        rule = Rule(RowFilter(owner="nobody", live_at=OVER), decide)
        store._log.append(SESSIONS_TOPIC, [Unit(rule=rule)])
print("done", flush=True)
"""
MOMENT = 0.02
"""Seconds after which a call that can't be answered is given up. It never can be before that."""
Calls = Callable[[AsyncSessionStore, Session], Awaitable[object]]


@contextmanager
def held(url: str) -> Iterator[Callable[[], None]]:
    """Another process amid a write. What it yields lets that process go on, and waits for it."""
    with running(HOLDING, url) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"

        def release() -> None:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write("\n")
            child.stdin.flush()
            assert child.stdout.readline() == "done\n"

        yield release


ENDS: dict[str, Calls] = {
    "expire": lambda store, _: store.expire(TOKEN),
    "revoke": lambda store, session: store.revoke(handle=session.handle),
    "revoke_all": lambda store, _: store.revoke_all("alice"),
    "revoke_where": lambda store, _: store.revoke_where(principals="alice"),
    "revoke_everybody": lambda store, _: store.revoke_everybody(),
    "log_out_everywhere": lambda store, _: store.log_out_everywhere(TOKEN),
    "change_credentials": lambda store, _: store.change_credentials(TOKEN),
}


@pytest.mark.parametrize("backend", PERSISTENT)
@pytest.mark.parametrize("call", ENDS.values(), ids=ENDS)
def test_an_end_that_timed_out_holds_once_the_same_call_answers(
    tmp_path: Path, backend: str, call: Calls
) -> None:
    url = URLS[backend](tmp_path / "ledger")

    async def main() -> object:
        async with AsyncSessionStore.open(url) as store:
            session = await store.create("alice", token=TOKEN)
            child = await store.create("bot", parent=TOKEN, token=OTHER)
            with held(url) as release:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(call(store, session), MOMENT)
                assert await store.get(TOKEN) is not None
                await asyncio.to_thread(release)
            answer = await call(store, session)
            assert await store.get(TOKEN) is None
            if isinstance(answer, IssuedSession):
                assert await store.get(answer.token) is not None
            else:
                assert await store.find(handle=child.handle) is None
            return answer

    asyncio.run(main())
    with SessionStore.open(url) as store:
        store.sweep()
        ended = Counter(
            event.value["token_handle"]
            for event in store.events()
            if event.kind == "session_expired"
        )
        assert max(ended.values()) == 1, "it happened once"
        assert store.diagnose() == []


@pytest.mark.parametrize("backend", PERSISTENT)
def test_a_create_that_timed_out_and_happened_is_told_by_the_same_call(
    tmp_path: Path, backend: str
) -> None:
    url = URLS[backend](tmp_path / "ledger")

    async def main() -> None:
        async with AsyncSessionStore.open(url) as store:
            await store.create("bob", token=OTHER)
            with held(url) as release:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(store.create("alice", token=TOKEN), MOMENT)
                await asyncio.to_thread(release)
            with pytest.raises(DuplicateSession):
                await store.create("alice", token=TOKEN)
            session = await store.get(TOKEN)
            assert session is not None
            assert session.principal == "alice"
            assert await store.count() == 2

    asyncio.run(main())


@pytest.mark.parametrize("backend", PERSISTENT)
def test_a_rotation_that_timed_out_answers_another_token_within_its_grace(
    tmp_path: Path, backend: str
) -> None:
    url = URLS[backend](tmp_path / "ledger")

    async def main() -> None:
        async with AsyncSessionStore.open(url) as store:
            await store.create("alice", token=TOKEN)
            with held(url) as release:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(store.rotate(TOKEN), MOMENT)
                await asyncio.to_thread(release)
            rotated = await store.rotate(TOKEN)
            assert rotated is not None
            assert await store.get(rotated.token) == rotated
            # Nobody has the token of the other one, which the new one stands for.
            assert [one.handle async for one in store.sessions()] == [rotated.handle]

    asyncio.run(main())


@pytest.mark.parametrize("backend", PERSISTENT)
def test_a_patch_that_timed_out_is_made_once(tmp_path: Path, backend: str) -> None:
    url = URLS[backend](tmp_path / "ledger")
    changes: dict[str, Any] = {"role": "admin", "cart": [1]}

    async def main() -> None:
        async with AsyncSessionStore.open(url) as store:
            await store.create("alice", token=TOKEN)
            with held(url) as release:
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(store.patch(TOKEN, changes), MOMENT)
                await asyncio.to_thread(release)
            patched = await store.patch(TOKEN, changes)
            assert patched is not None
            assert patched.attributes == changes
            assert (await store.head()).id == 2

    asyncio.run(main())
