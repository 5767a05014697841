"""A Litestar application with sessions of its own: no other process to run.

    LEDGER=sqlite:///sessions.db uvicorn --app-dir examples/web litestar_app:app

Log in begins a session and ends whatever session the browser came with. What matters asks for a
recent proof; a new password gives a new token and ends all other sessions, whoever holds them.
"""

from __future__ import annotations

import os
from datetime import timedelta

from litestar import Litestar, get, post
from litestar.exceptions import NotAuthorizedException
from litestar.params import JSONBody
from msgspec import Struct

from sessionledger import AsyncSessionStore, Policy
from sessionledger.integrations import Requirements, Settings, user_agent_and_address
from sessionledger.integrations.litestar import RequestSessionDependency, Sessions
from sessionledger.integrations.litestar.devices import router

sessions = Sessions(
    lambda: AsyncSessionStore.open(os.environ["LEDGER"], policy=Policy.aal2()),
    settings=Settings(realm="example", context=user_agent_and_address),
)
RECENT = Requirements(max_auth_age=timedelta(minutes=10))


class Login(Struct):
    """What somebody typed."""

    name: str
    password: str


@post("/login", status_code=200)
async def log_in(data: JSONBody[Login], request_session: RequestSessionDependency) -> str:
    """Check the password as your application does."""
    if data.password != "correct horse":
        raise NotAuthorizedException("name or password are wrong")
    await request_session.log_in(data.name)
    return f"welcome, {data.name}"


@get("/", guards=[sessions.required], security=sessions.security)
async def home(request_session: RequestSessionDependency) -> str:
    return f"hello, {(await request_session.required()).principal}"


@post("/password", status_code=200, guards=[sessions.requiring(RECENT)], security=sessions.security)
async def change_password(request_session: RequestSessionDependency) -> str:
    """A new token here, and the end of all other sessions."""
    await request_session.change_credentials(reason="password changed")
    return "changed"


@post("/logout-everywhere", status_code=200)
async def log_out_everywhere(request_session: RequestSessionDependency) -> str:
    return f"{await request_session.log_out_everywhere()} logged out"


@post("/logout", status_code=200)
async def log_out(request_session: RequestSessionDependency) -> str:
    await request_session.log_out()
    return "goodbye"


devices = router(sessions, path="/account")  # where one is logged in
app = Litestar(
    [log_in, home, devices, change_password, log_out_everywhere, log_out], plugins=[sessions]
)
