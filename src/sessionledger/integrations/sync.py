"""The request session for frameworks without an event loop: the same one, in plain calls.

A `SessionStore` never suspends, so neither do the coroutines that call it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from sessionledger import AsyncSessionStore, Session, SessionStore
from sessionledger.integrations.refusing import Refuse
from sessionledger.integrations.request import Request
from sessionledger.integrations.request_session import RequestSession
from sessionledger.integrations.settings import Settings

if TYPE_CHECKING:  # it takes an extra
    from sessionledger.web.backchannel.receiver import Answer, LogoutReceiver

P = ParamSpec("P")
T = TypeVar("T")


class _StoreInPlace:
    """A `SessionStore` with the calls of an asynchronous one, which never suspend."""

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self.policy = store.policy

    def on_topic(self, topic: str) -> _StoreInPlace:
        return _StoreInPlace(self._store.on_topic(topic))

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        call = getattr(self._store, name)

        async def awaited(*given: Any, **named: Any) -> Any:
            return call(*given, **named)

        return awaited

    async def sessions(self, **which: Any) -> AsyncIterator[Session]:
        for session in self._store.sessions(**which):
            yield session


def store_in_place(store: SessionStore) -> AsyncSessionStore:
    """The store with the calls of an asynchronous one."""
    return cast(AsyncSessionStore, _StoreInPlace(store))


def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that never suspends."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        answer: T = done.value
        return answer
    raise AssertionError("a synchronous store suspended")


def receive_logout(
    receiver: LogoutReceiver, store: SessionStore, kind: str | None, body: bytes
) -> Answer:
    """What a receiver of logout tokens answers to a request. kind: its `Content-Type`."""
    in_place = cast(AsyncSessionStore, _StoreInPlace(store))
    return complete(receiver.receive(in_place, kind, body, in_place=True))


def _in_place(
    method: Callable[Concatenate[RequestSession, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncRequestSession, P], T]:
    """The method of a `RequestSession` as a plain one."""

    @wraps(method)
    def called(self: SyncRequestSession, /, *given: P.args, **named: P.kwargs) -> T:
        return complete(method(self.in_place, *given, **named))

    return called


class SyncRequestSession:
    """One request, and what it may do with its session: `RequestSession`, in plain calls."""

    def __init__(
        self, store: SessionStore, request: Request, settings: Settings, refuse: Refuse
    ) -> None:
        in_place = store_in_place(store)
        self.in_place = RequestSession(lambda: in_place, request, settings, refuse)

    session = _in_place(RequestSession.session)
    required = _in_place(RequestSession.required)
    log_in = _in_place(RequestSession.log_in)
    begin_anonymous = _in_place(RequestSession.begin_anonymous)
    patch = _in_place(RequestSession.patch)
    log_out = _in_place(RequestSession.log_out)
    rotate = _in_place(RequestSession.rotate)
    change_credentials = _in_place(RequestSession.change_credentials)
    log_out_everywhere = _in_place(RequestSession.log_out_everywhere)
