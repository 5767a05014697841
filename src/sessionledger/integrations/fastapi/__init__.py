"""FastAPI: dependencies, which the OpenAPI document shows as security schemes.

A handler is called only for requests that meet its dependencies:

    sessions = Sessions(lambda: AsyncSessionStore.open("sqlite:///sessions.db"))
    app = FastAPI(lifespan=sessions.lifespan)
    app.add_middleware(sessions.middleware)


    @app.get("/account")
    async def account(session: Annotated[Session, Depends(sessions.required)]) -> str:
        return session.principal
"""

from __future__ import annotations

from sessionledger.integrations.fastapi.extension import Sessions
from sessionledger.integrations.request_session import RequestSession
from sessionledger.integrations.starlette.session_middleware import LedgerSessionMiddleware

__all__ = ["LedgerSessionMiddleware", "RequestSession", "Sessions"]
