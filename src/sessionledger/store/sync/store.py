"""The synchronous store: for scripts, threads, and every framework that is not async."""

from __future__ import annotations

from types import TracebackType

from sessionledger.core.policy import Policy, given_policy
from sessionledger.logs.adapters.immediate import ImmediateLog
from sessionledger.logs.base import Log
from sessionledger.logs.url import open_log
from sessionledger.secrecy import without_locals
from sessionledger.store.clock import Clock, Monotonic, system_clock
from sessionledger.store.engine import SESSIONS_TOPIC, Engine, OnError, no_engine
from sessionledger.store.sync.by_handle import ByHandle
from sessionledger.store.sync.by_ledger import ByLedger
from sessionledger.store.sync.by_token import ByToken
from sessionledger.store.telemetry.detection import telemetry_of


class SessionStore(ByToken, ByHandle, ByLedger):
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
        self._owns_log = False
        clock = system_clock if clock is None else clock
        telemetry = telemetry_of(log, topic)
        self._engine = Engine(
            ImmediateLog(telemetry.log(log)),
            topic,
            policy,
            clock,
            monotonic,
            on_error,
            telemetry,
        )
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
        topic: str = SESSIONS_TOPIC,
    ) -> SessionStore:
        """Open the ledger at an address: `memory:`, `sqlite:///path`, `file:///path` or
        `postgresql://user@host/database`.

        durability: "full" answers after fsync; "normal" survives the process but not a power loss.
        clock: answers the present instant; monotonic: seconds that nobody can set, which `sweep`
        holds against it. on_error: told of what went wrong without failing a call; it is logged
        otherwise. Raises `InvalidURL`, `InvalidPolicy`, `LogUnavailable`, `NotALedger`,
        `UnsupportedSchema`.
        """
        policy = given_policy(policy)
        log = open_log(url, durability=durability)
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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the ledger. Closing twice is nothing."""
        engine, self._engine = self._engine, no_engine("the store is closed")
        engine.close()
        if self._owns_log:
            self._log.close()
