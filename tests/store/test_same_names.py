"""The two stores are one in two colours; and each keeps to its own."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sessionledger import AsyncSessionStore, Log, SessionStore
from sessionledger.store.aio.by_handle import AsyncSessions
from sessionledger.store.sync.store import Sessions
from tests.store.conftest import TOKEN
from tests.store.facade import EMBEDDED, Bench, Kind

PAIRS = [(SessionStore, AsyncSessionStore), (Sessions, AsyncSessions)]
SPECIAL = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__iter__": "__aiter__"}
PLAIN = {"history", "on_topic", "open", "peek", "sessions"}
"""What both stores answer at once: the asynchronous one has nothing to wait for, or not yet."""

OWN = re.compile(r"\b(threading|asyncio)\.(?=Event\b)|\b(thread|task)(?=\. Errors are told)")
"""What each calls by the name of its colour: the event that stops a sweeper, and who runs it."""

AT_WORK = """
import sys
from sessionledger import SessionStore

with SessionStore.open(sys.argv[1]) as store:
    assert store.get(store.create("alice").token) is not None
print("asyncio" in sys.modules)
"""


def public(kind: type[Any]) -> set[str]:
    """Its methods."""
    names = {name for name in dir(kind) if not name.startswith("_")}
    return {name for name in names if not isinstance(getattr(kind, name), property)}


def shape(kind: type[Any], name: str) -> tuple[list[tuple[Any, ...]], str]:
    """Parameters with their kinds, defaults and annotations, and what is answered."""

    def told(p: inspect.Parameter) -> tuple[Any, ...]:
        annotation = OWN.sub("", p.annotation) if isinstance(p.annotation, str) else p.annotation
        return p.name, p.kind, p.default, annotation

    signature = inspect.signature(inspect.getattr_static(kind, name).__get__(None, kind))
    parameters = [told(p) for p in signature.parameters.values()]
    return parameters, str(signature.return_annotation).replace("Async", "")


@pytest.fixture(params=EMBEDDED)
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Log]:
    bench = Bench(Kind("sync", request.param), tmp_path / "ledger.db")
    yield bench.log()
    bench.close()


@pytest.mark.parametrize(("sync", "aio"), PAIRS)
def test_public_names_are_the_same(sync: type[Any], aio: type[Any]) -> None:
    assert public(sync) == public(aio) != set()
    for name, twin in SPECIAL.items():
        assert (name in vars(sync)) == (twin in vars(aio))


@pytest.mark.parametrize(("sync", "aio"), PAIRS)
def test_parameters_defaults_and_annotations_are_the_same(sync: type[Any], aio: type[Any]) -> None:
    # Nobody makes a listing but its store.
    made = {"__init__"} if sync is SessionStore else set()
    for name in public(sync) | made:
        assert shape(sync, name) == shape(aio, name), name


@pytest.mark.parametrize(("sync", "aio"), PAIRS)
def test_documentation_is_the_same_where_the_use_is(sync: type[Any], aio: type[Any]) -> None:
    for name in public(sync) - {"open"}:
        both = [OWN.sub("", inspect.getdoc(getattr(kind, name)) or "") for kind in (sync, aio)]
        assert both[0] == both[1] != "", name


@pytest.mark.parametrize("name", sorted(public(AsyncSessionStore)))
def test_methods_of_the_asynchronous_store_are_awaited(name: str) -> None:
    method = getattr(AsyncSessionStore, name)
    awaited = inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method)
    assert awaited == (name not in PLAIN)
    assert not inspect.iscoroutinefunction(getattr(SessionStore, name))


def test_an_asynchronous_get_never_suspends(log: Log) -> None:
    SessionStore(log).create("alice", token=TOKEN)
    for token in (TOKEN, TOKEN + "unknown"):
        getting = AsyncSessionStore(log).get(token)
        with pytest.raises(StopIteration) as finished:
            getting.send(None)
        assert (finished.value.value is not None) == (token == TOKEN)


def test_an_asynchronous_find_never_suspends(log: Log) -> None:
    handle = SessionStore(log).create("alice").handle
    with pytest.raises(StopIteration) as finished:
        AsyncSessionStore(log).find(handle=handle).send(None)
    assert finished.value.value.handle == handle


def test_the_synchronous_store_starts_no_thread(log: Log) -> None:
    before = threading.active_count()
    store = SessionStore(log)
    token = store.create("alice").token
    assert store.get(token)
    assert store.touch(token)
    assert store.expire(token)
    assert store.stats().events == 3
    assert threading.active_count() == before


def test_the_asynchronous_store_starts_no_thread_to_read(log: Log) -> None:
    SessionStore(log).create("alice", token=TOKEN)
    before = threading.active_count()
    with pytest.raises(StopIteration):
        AsyncSessionStore(log).get(TOKEN).send(None)
    assert threading.active_count() == before


@pytest.mark.parametrize("backend", EMBEDDED)
def test_the_synchronous_store_needs_no_asyncio(backend: str, tmp_path: Path) -> None:
    bench = Bench(Kind("sync", backend), tmp_path / "ledger.db")
    command = [sys.executable, "-c", AT_WORK, bench.url]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
