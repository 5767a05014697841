"""An error's chain of causes and contexts never holds the token, whatever was wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from sessionledger import SessionLedgerError, SessionStore
from tests.store.conftest import TOKEN

TORN = TOKEN + "\udcff"

CALLS: dict[str, Callable[[SessionStore], object]] = {
    "get": lambda store: store.get(TORN),
    "touch": lambda store: store.touch(TORN),
    "expire": lambda store: store.expire(TORN),
    "create": lambda store: store.create("alice", token=TORN),
    "principal": lambda store: store.create(TORN),
    "own principal": lambda store: store.create(TOKEN, token=TOKEN),
    "attribute": lambda store: store.create("alice", token=TOKEN, attributes={"a": TORN}),
    "nested": lambda store: store.create("alice", token=TOKEN, attributes={"a": [{"b": TORN}]}),
    "attribute key": lambda store: store.create("alice", token=TOKEN, attributes={TORN: 1}),
    "context": lambda store: store.create("alice", context={"a": TORN}),
    "context key": lambda store: store.create("alice", context={TORN: "a"}),
    "reason": lambda store: store.create("alice", reason=TORN),
    "actor": lambda store: store.create("alice", actor=TORN),
    "own reason": lambda store: store.create("alice", token=TOKEN, reason=TOKEN),
    "cursor": lambda store: list(store.sessions(after=TORN)),
    "whole cursor": lambda store: list(store.sessions(after=TOKEN)),
    "listed principal": lambda store: list(store.sessions(principal=TORN)),
    "counted principal": lambda store: store.count(principal=TORN),
    "principal's history": lambda store: list(store.history(principal=TORN)),
    "handle": lambda store: store.find(handle=TORN),
    "head": lambda store: store.verify(expect=TORN),
}


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """The error and all that it came from, each once."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            waiting += [one.__cause__, one.__context__]


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_no_error_on_the_way_holds_the_token(
    store: SessionStore, call: Callable[[SessionStore], object]
) -> None:
    store.create("bob")
    with pytest.raises(SessionLedgerError) as caught:
        call(store)
    for error in chain_of(caught.value):
        told = [error.args, str(error), vars(error), getattr(error, "object", None)]
        assert TOKEN not in repr(told), type(error)
