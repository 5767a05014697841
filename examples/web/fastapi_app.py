"""A FastAPI application with sessions of its own: no other process to run.

    LEDGER=sqlite:///sessions.db uvicorn --app-dir examples/web fastapi_app:app

Log in begins a session and ends whatever session the browser came with. What matters asks for a
recent proof; a new password gives a new token and ends all other sessions, whoever holds them.
"""

import os
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException
from pydantic import BaseModel

from sessionledger import AsyncSessionStore, Policy, Session
from sessionledger.integrations import Requirements, Settings, user_agent_and_address
from sessionledger.integrations.fastapi import RequestSession, Sessions
from sessionledger.integrations.fastapi.devices import routes

sessions = Sessions(
    lambda: AsyncSessionStore.open(os.environ["LEDGER"], policy=Policy.aal2()),
    settings=Settings(realm="example", context=user_agent_and_address),
)
app = FastAPI(lifespan=sessions.lifespan)
app.add_middleware(sessions.middleware)
app.include_router(APIRouter(routes=routes(sessions)), prefix="/account")  # where one is logged in

RECENT = Requirements(max_auth_age=timedelta(minutes=10))
CurrentRequestSession = Annotated[RequestSession, Depends(sessions.request_session)]
Own = Annotated[Session, Depends(sessions.required)]
OwnAndRecent = Annotated[Session, Depends(sessions.requiring(RECENT))]


class Login(BaseModel):
    """What somebody typed."""

    name: str
    password: str


@app.post("/login")
async def log_in(who: Login, request_session: CurrentRequestSession) -> str:
    """Check the password as your application does."""
    if who.password != "correct horse":
        raise HTTPException(401, "name or password are wrong")
    await request_session.log_in(who.name)
    return f"welcome, {who.name}"


@app.get("/")
async def home(session: Own) -> str:
    return f"hello, {session.principal}"


@app.post("/password")
async def change_password(_: OwnAndRecent, request_session: CurrentRequestSession) -> str:
    """A new token here, and the end of all other sessions."""
    await request_session.change_credentials(reason="password changed")
    return "changed"


@app.post("/logout-everywhere")
async def log_out_everywhere(request_session: CurrentRequestSession) -> str:
    return f"{await request_session.log_out_everywhere()} logged out"


@app.post("/logout")
async def log_out(request_session: CurrentRequestSession) -> str:
    await request_session.log_out()
    return "goodbye"
