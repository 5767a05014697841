"""Litestar: a plugin, guards, and dependencies.

A handler is called only for requests that meet its guards:

    sessions = Sessions(lambda: AsyncSessionStore.open("sqlite:///sessions.db"))


    @get("/account", guards=[sessions.required])
    async def account(request_session: RequestSessionDependency) -> str:
        return (await request_session.required()).principal


    app = Litestar([account], plugins=[sessions])
"""

from __future__ import annotations

from sessionledger.integrations.litestar.extension import RequestSessionDependency, Sessions
from sessionledger.integrations.litestar.session_backend import LedgerSessionConfig
from sessionledger.integrations.litestar.store import LedgerStore
from sessionledger.integrations.request_session import RequestSession

__all__ = [
    "LedgerSessionConfig",
    "LedgerStore",
    "RequestSession",
    "RequestSessionDependency",
    "Sessions",
]
