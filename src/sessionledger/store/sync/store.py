"""The synchronous store: for scripts, threads, and every framework that is not async.

Most of its methods are those of the asynchronous store, whose coroutines it drives in place.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from datetime import datetime, timedelta
from functools import wraps
from itertools import chain
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from sessionledger.core.history import HistoryEntry
from sessionledger.core.policy import Policy, given_policy
from sessionledger.core.session import Session
from sessionledger.core.token import digest, parse_token
from sessionledger.logs.adapters.immediate import ImmediateLog, drive
from sessionledger.logs.base import Log, StoredEvent
from sessionledger.logs.url import open_log
from sessionledger.secrecy import clear_locals, without_locals
from sessionledger.store.aio.by_handle import AsyncHistory, AsyncSessions, ByHandle
from sessionledger.store.aio.by_ledger import ByLedger, pages
from sessionledger.store.aio.by_token import ByToken
from sessionledger.store.clock import Clock, Monotonic, system_clock
from sessionledger.store.engine import (
    SESSIONS_TOPIC,
    Annotation,
    Engine,
    Folder,
    OnError,
    no_engine,
)
from sessionledger.store.facade import TokenFacade
from sessionledger.store.operations import authenticate, sweep
from sessionledger.store.pages import Page
from sessionledger.store.telemetry.detection import telemetry_of

if TYPE_CHECKING:  # few processes ever read a history
    from sessionledger.store.history.reader import HistoryPage

P = ParamSpec("P")
A = TypeVar("A")
T = TypeVar("T")


def adapted(
    method: Callable[Concatenate[Any, P], A], adapt: Callable[[A], T]
) -> Callable[Concatenate[Any, P], T]:
    """A method of the asynchronous store for the synchronous store, with its answer adapted."""
    # Its own frames are emptied here, once.
    unwrapped: Callable[..., A] = getattr(method, "__wrapped__", method)

    @without_locals
    @wraps(method)
    def called(self: Any, /, *given: P.args, **named: P.kwargs) -> T:
        return adapt(unwrapped(self, *given, **named))

    return called


def in_place(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Any, P], T]:
    """A coroutine method of the asynchronous store as a method of the synchronous store."""
    return adapted(method, drive)


def drive_all(items: AsyncIterator[T]) -> Iterator[T]:
    """The items of an asynchronous generator that never suspends."""
    while True:
        try:
            item = drive(cast(Coroutine[Any, Any, T], anext(items)))
        except StopAsyncIteration:
            return
        yield item


class Sessions:
    """A listing of sessions: iterate it, or take it `.pages()` by page."""

    def __init__(self, listed: AsyncSessions) -> None:
        self._listed = listed

    def pages(self) -> Iterator[Page]:
        """Page by page; `Page.cursor` given as `after=` goes on where it ended."""
        return drive_all(self._listed.pages())

    def __iter__(self) -> Iterator[Session]:
        return chain.from_iterable(page.sessions for page in self.pages())


class History:
    """A history: iterate it, or take it `.pages()` by page."""

    def __init__(self, told: AsyncHistory) -> None:
        self._told = told

    def pages(self) -> Iterator[HistoryPage]:
        """Page by page; `HistoryPage.cursor` given as `after=` goes on where it ended."""
        return drive_all(self._told.pages())

    def __iter__(self) -> Iterator[HistoryEntry]:
        return chain.from_iterable(page.entries for page in self.pages())


class SessionStore(TokenFacade):
    """Sessions on a ledger. Every method may be called from any thread.

    Times are aware datetimes, spans are timedeltas. Methods that take a token raise
    `InvalidSession` for a text that can't be one, and answer None for a session that is unknown,
    expired or revoked. All raise `LogUnavailable` when the storage refuses and `StoreClosed`
    after `close`. `reason`, `actor` and `context` are kept with the event and shown by `history`;
    they must hold no secret.
    """

    def __init__(
        self,
        log: Log,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        monotonic: Monotonic | None = None,
        on_error: OnError | None = None,
        topic: str = SESSIONS_TOPIC,
    ) -> None:
        """A store on a log that is open already, and that stays open when the store is closed."""
        policy = given_policy(policy)
        self._log = self._in_place = log
        self._look = log.state
        self._owns_log = False
        clock = system_clock if clock is None else clock
        telemetry = telemetry_of(log, topic)
        measured = ImmediateLog(telemetry.log(log))
        self._engine = Engine(measured, topic, policy, clock, monotonic, on_error, telemetry)
        telemetry.observe(self)

    @classmethod
    @without_locals
    def open(
        cls,
        url: str,
        *,
        policy: Policy | None = None,
        clock: Clock | None = None,
        monotonic: Monotonic | None = None,
        on_error: OnError | None = None,
        durability: str = "full",
        timeout: timedelta | None = None,
        pool_size: int | None = None,
        max_staleness: timedelta | None = None,
        topic: str = SESSIONS_TOPIC,
    ) -> SessionStore:
        """Open the ledger at an address: `memory:`, `sqlite:///path`, `file:///path` or
        `postgresql://user@host/database`.

        durability: "full" answers after fsync; "normal" survives the process but not a power loss.
        timeout: how long a call waits for others that use the ledger, by default what the address
        says, such as `?timeout=5s`, or 10 s. It then raises `LogTimeout`; nothing was written.
        pool_size: how many connections to PostgreSQL this process has at most. By default it is
        what the address says, such as `?pool_size=8`, or 5.
        max_staleness: how old the answers of `get`, `find`, `peek` and `authenticate` may be, for
        PostgreSQL. By default, and with any other log, no answer is old.
        clock: answers the present instant; monotonic: seconds that nobody can set, which `sweep`
        holds against it. on_error: told of what went wrong without failing a call; it is logged
        otherwise. Raises `InvalidURL`, `InvalidPolicy`, `LogUnavailable`, `NotALedger`,
        `UnsupportedSchema`.
        """
        policy = given_policy(policy)
        log = open_log(
            url,
            durability=durability,
            timeout=timeout,
            pool_size=pool_size,
            max_staleness=max_staleness,
        )
        try:
            store = cls(
                log,
                policy=policy,
                clock=clock,
                monotonic=monotonic,
                on_error=on_error,
                topic=topic,
            )
        except BaseException:
            log.close()
            raise
        store._owns_log = True
        return store

    def __enter__(self) -> SessionStore:
        self._engine.check_open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the ledger. Closing twice is nothing."""
        engine, self._engine = self._engine, no_engine("the store is closed")
        engine.close()
        if self._owns_log:
            self._log.close()

    create = in_place(ByToken.create)
    find_or_create = in_place(ByToken.find_or_create)

    def get(self, token: str, *, now: datetime | None = None) -> Session | None:
        """The live session of a token, as of everything acknowledged before the call."""
        # The hot path: what the engine would do, without the price of a coroutine.
        engine = self._engine
        try:
            key = digest(parse_token(token, engine.policy))
            return engine.live(self._log.state(engine.topic, key), now)
        except BaseException as error:
            del token
            clear_locals(error)
            raise

    def authenticate(
        self,
        token: str | None,
        *,
        max_auth_age: timedelta | None = None,
        context: Mapping[str, str] | None = None,
    ) -> Session | None:
        """The live session of a token that a client presented, for every request.

        Records that it was seen, when that is due by the policy. Where it can't be recorded, the
        session is answered all the same, and the store's `on_error` is told. A token that was
        rotated, and is presented after its grace, ends its family. None for whatever is not live,
        and for whatever is no token. Raises `ReauthenticationRequired` for a bearer who proved who
        it is longer than `max_auth_age` ago.
        """
        engine = self._engine
        try:
            presented = authenticate.presented(engine, token)
            if presented is None:
                return None
            found = self._log.state(engine.topic, presented[1])
            session = engine.live(found, None)
            if authenticate.needs_only_a_read(engine, session, max_auth_age):
                return session
            said = Annotation(context=context)
            return drive(authenticate.authenticate(engine, presented[0], found, max_auth_age, said))
        except BaseException as error:
            token = presented = None
            clear_locals(error)
            raise

    reauthenticate = in_place(ByToken.reauthenticate)
    touch = in_place(ByToken.touch)
    patch = in_place(ByToken.patch)
    rotate = in_place(ByToken.rotate)
    change_credentials = in_place(ByToken.change_credentials)
    log_out_everywhere = in_place(ByToken.log_out_everywhere)
    expire = in_place(ByToken.expire)

    find = in_place(ByHandle.find)

    sessions = adapted(ByHandle.sessions, Sessions)
    count = in_place(ByHandle.count)
    counts = in_place(ByHandle.counts)
    revoke = in_place(ByHandle.revoke)
    revoke_all = in_place(ByHandle.revoke_all)
    revoke_everybody = in_place(ByHandle.revoke_everybody)
    revoke_where = in_place(ByHandle.revoke_where)
    as_of = in_place(ByHandle.as_of)

    watch = adapted(ByHandle.watch, drive_all)
    history = adapted(ByHandle.history, History)

    sweep = in_place(ByLedger.sweep)

    def run_sweeper(
        self, interval: timedelta = timedelta(minutes=1), *, stop: threading.Event | None = None
    ) -> None:
        """Sweep now and after every interval, until `stop` is set or the store is closed.

        It occupies its thread. Errors are told to the store's `on_error`, and it goes on.
        """
        engine, stopped = self._engine, stop or threading.Event()
        engine.check_open()
        _repeat(engine, lambda: drive(sweep.turn(engine, interval)), stopped)

    head = in_place(ByLedger.head)
    verify = in_place(ByLedger.verify)
    rebuild = in_place(ByLedger.rebuild)
    compact = in_place(ByLedger.compact)
    erase = in_place(ByLedger.erase)
    erasures = in_place(ByLedger.erasures)
    backup = in_place(ByLedger.backup)
    maintain = in_place(ByLedger.maintain)

    def run_maintenance(
        self,
        interval: timedelta = timedelta(hours=1),
        *,
        retention: timedelta | None = None,
        archive: Folder | None = None,
        stop: threading.Event | None = None,
    ) -> None:
        """Maintain the ledger now and after every interval, until `stop` is set or the store is
        closed. It then ends with the step that is under way.

        One process does it at a time, and none within an interval of the last round, however many
        run this. It occupies its thread. Errors are told to the store's `on_error`, and it goes on.
        """
        from sessionledger.store.maintenance import Maintenance

        engine, stopped = self._engine, stop or threading.Event()
        engine.check_open()
        maintenance = Maintenance(engine, self._log, retention, archive, stopped.is_set)
        _repeat(engine, lambda: drive(maintenance.turn(interval)), stopped)

    diagnose = in_place(ByLedger.diagnose)
    stats = in_place(ByLedger.stats)
    activity = in_place(ByLedger.activity)

    def events(self, *, after: int = 0, archive: Folder | None = None) -> Iterator[StoredEvent]:
        """Every event of the topic with an id above `after`, as it is stored.

        With the folder of an `archive` also those that were removed.
        """
        return chain.from_iterable(drive_all(pages(self._engine, after, archive)))


def _repeat(
    engine: Engine, turn: Callable[[], Callable[[], float] | None], stopped: threading.Event
) -> None:
    """Take turns, each once the one before leaves no seconds to wait, until it is stopped."""
    while (left := turn()) is not None and not stopped.is_set():
        while not engine.closed and left() > 0 and not stopped.wait(left()):
            pass
