"""How a connection begins: what libpq is told, how long that takes, and the server's settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic

import psycopg
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn

from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.connection import (
    Address,
    Connection,
    NoAnswer,
    RawConnection,
    Statement,
)

SETTINGS_ATTEMPTS = 5
LEAST_CONNECT_SECONDS = 2
"""libpq waits for no less."""
LATE_SECONDS = 1.0
"""How long somebody waits for a new connection who could have another one."""
_PAUSE_SECONDS = 0.02
_NONE_LEFT = (
    "a pooler before it has no connection left: in session mode it needs as many as the pool_size "
    "of all processes together"
)


def settled(address: Address, timeout: float) -> Address:
    """With all that libpq is told. What an address, its variables or a service file say goes
    first."""
    given = address.parameters
    told = _effective(given)
    hosts = given.get("host") or given.get("hostaddr") or os.environ.get("PGHOST", "")
    seconds = int(timeout / (1 + hosts.count(",")))
    ours = {
        "fallback_application_name": "sessionledger",
        "connect_timeout": str(max(LEAST_CONNECT_SECONDS, seconds)),
        "tcp_user_timeout": str(max(1, round(1000 * timeout))),
    }
    # Its own default. A standby may answer what was true a while ago.
    if told.get("target_session_attrs", "any") == "any":
        given = given | {"target_session_attrs": "primary"}
    ours = {name: value for name, value in ours.items() if name not in told}
    return replace(address, parameters=ours | given | {"client_encoding": "UTF8"})


def _effective(given: dict[str, str]) -> dict[str, str]:
    """The parameters that libpq would use, its own defaults among them.

    It tells them of a connection alone, and this one leads nowhere.
    """
    nowhere = {"host": "/nonexistent", "hostaddr": "", "port": "5432"}
    begun = PGconn.connect_start(make_conninfo("", **given | nowhere).encode())
    try:
        found = {one.keyword.decode(): one.val for one in begun.info}
    finally:
        begun.finish()
    return {name: value.decode() for name, value in found.items() if value is not None}


def connect(
    address: Address,
    *,
    is_relaxed: bool,
    timeout: float,
    until: float,
    instead: Callable[[], Connection | None],
) -> Connection:
    """Connect to a server; is_relaxed: commits are answered before they are flushed; timeout: how
    many seconds a statement has. instead: may find another connection, if the server takes long.
    Raises what psycopg does, `NoAnswer` among it.

    A thread of its own does it: the system looks names up without a limit of time.
    """
    done: SimpleQueue[Connection | BaseException] = SimpleQueue()
    given_up: list[bool] = []

    def work() -> None:
        try:
            done.put(_connected(address, is_relaxed=is_relaxed, timeout=timeout, until=until))
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            done.put(error)
        if given_up:
            _close_any(done)

    Thread(target=work, name="sessionledger-connect", daemon=True).start()
    late = monotonic() + LATE_SECONDS
    try:
        while True:
            with suppress(Empty):
                found = done.get(timeout=min(_PAUSE_SECONDS, max(0.0, until - monotonic())))
                break
            if monotonic() >= late and (other := instead()) is not None:
                return other
            if monotonic() >= until:
                raise NoAnswer(_NONE_LEFT)
    finally:
        given_up.append(True)
        _close_any(done)
    if isinstance(found, BaseException):
        raise found
    return found


def _close_any(done: SimpleQueue[Connection | BaseException]) -> None:
    with suppress(Empty):
        found = done.get_nowait()
        if isinstance(found, Connection):
            found.close()


def _connected(address: Address, *, is_relaxed: bool, timeout: float, until: float) -> Connection:
    raw = RawConnection.connect("", autocommit=True, **address.parameters)  # type: ignore[arg-type]
    try:
        raw.until = until
        settings = _settings(raw, is_relaxed=is_relaxed, timeout=timeout)
        is_pooled, is_standby = _set(raw, settings)
        if is_standby:
            raise psycopg.OperationalError(
                "it is a standby, which may answer what was true a while ago: connect to the "
                "primary"
            )
        raw.prepare_threshold = None if is_pooled else 0
        return Connection(raw, address.schema, timeout, settings if is_pooled else None)
    except NoAnswer:
        # A pooler lets clients in at once, and answers when the server has a session for them.
        raise NoAnswer(_NONE_LEFT) from None
    except BaseException:
        raw.close()
        raise


def _settings(raw: RawConnection, *, is_relaxed: bool, timeout: float) -> Statement:
    """What makes a session's settings ours. A pooler tells another number than the server's.

    The server waits for locks a little less long than its answer is waited for.
    """
    lock_seconds = timeout - min(1.0, timeout / 10)
    milliseconds = f"{max(1, round(1000 * lock_seconds))}ms"
    return queries.SETTINGS, (milliseconds, is_relaxed, raw.pgconn.backend_pid)


def _set(raw: RawConnection, settings: Statement) -> tuple[bool, bool]:
    """Whether the settings last for one transaction each, and whether it is a standby."""
    for attempt in range(SETTINGS_ATTEMPTS):
        try:
            found = raw.execute(*settings, prepare=False).fetchone()
        except psycopg.errors.QueryCanceled:
            # A statement_timeout that is shorter than this takes on a busy server.
            if attempt == SETTINGS_ATTEMPTS - 1:
                raise
        else:
            assert found is not None
            return found[0], found[1]
    raise AssertionError
