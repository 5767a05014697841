"""How a connection begins: what libpq is told, how long that takes, and the server's settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any

import psycopg
from msgspec.structs import replace
from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn

from sessionledger.logs.postgres import queries
from sessionledger.logs.postgres.append.call import Array, ArrayDumper
from sessionledger.logs.postgres.connection import Address, Connection, NoAnswer, RawConnection

SETTINGS_ATTEMPTS = 5
LEAST_CONNECT_SECONDS = 2
"""libpq waits for no less."""
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


def in_time(connect: Callable[[float], Connection], until: float) -> Connection:
    """What `connect` answers, or what it raises; `NoAnswer` if it takes too long.

    A thread of its own does it: the system looks names up without a limit of time.
    """
    done: SimpleQueue[Connection | BaseException] = SimpleQueue()
    given_up: list[bool] = []

    def work() -> None:
        try:
            done.put(connect(until))
        except BaseException as error:  # noqa: BLE001  raised where it is waited for
            done.put(error)
        if given_up:
            _close_any(done)

    Thread(target=work, name="sessionledger-connect", daemon=True).start()
    try:
        found = done.get(timeout=max(0.0, until - monotonic()))
    except Empty:
        raise NoAnswer(_NONE_LEFT) from None
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


def connect(address: Address, is_relaxed: bool, timeout: float, until: float) -> Connection:
    """Connect to a server; is_relaxed: commits are answered before they are flushed; timeout: how
    many seconds a statement has. Raises what psycopg does, `NoAnswer` among it."""
    raw = RawConnection.connect("", autocommit=True, **address.parameters)  # type: ignore[arg-type]
    # The server waits for locks a little less long than its answer is waited for.
    lock_timeout = f"{max(1, round(1000 * (timeout - min(1.0, timeout / 10))))}ms"
    # A pooler tells another number than the server's.
    settings = queries.SETTINGS, (lock_timeout, is_relaxed, raw.pgconn.backend_pid)
    raw.until = until
    try:
        is_pooled, is_standby = _set(raw, settings)
        if is_standby:
            raise psycopg.OperationalError(
                "it is a standby, which may answer what was true a while ago: connect to the "
                "primary"
            )
        raw.prepare_threshold = None if is_pooled else 0
        raw.adapters.register_dumper(Array, ArrayDumper)
        return Connection(raw, address.schema, timeout, settings if is_pooled else None)
    except NoAnswer:
        # A pooler lets clients in at once, and answers when the server has a session for them.
        raise NoAnswer(_NONE_LEFT) from None
    except BaseException:
        raw.close()
        raise


def _set(raw: RawConnection, settings: tuple[str, Any]) -> list[bool]:
    """Whether the settings last for one transaction each, and whether it is a standby."""
    for _ in range(SETTINGS_ATTEMPTS):
        with suppress(psycopg.errors.QueryCanceled):
            return list(raw.execute(*settings, prepare=False).fetchall()[0][:2])
    raise psycopg.OperationalError("statement_timeout leaves no time for a single statement")
