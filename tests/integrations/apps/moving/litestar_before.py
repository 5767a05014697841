"""A shop on Litestar's server-side sessions."""

import os
from typing import Any

from litestar import Litestar, Request, get, post
from litestar.middleware.session.server_side import ServerSideSessionConfig
from litestar.stores.redis import RedisStore
from redis.asyncio import Redis


@post("/login", status_code=200)
async def log_in(request: Request[Any, Any, Any]) -> str:
    request.session["user_id"] = request.query_params["name"]
    return "logged in"


@post("/basket", status_code=200)
async def put(request: Request[Any, Any, Any]) -> str:
    request.session.setdefault("basket", []).append(request.query_params["put"])
    return "put"


@get("/")
async def home(request: Request[Any, Any, Any]) -> str:
    return f"{request.session.get('user_id', 'visitor')} has {request.session.get('basket')} "


@post("/logout", status_code=200)
async def log_out(request: Request[Any, Any, Any]) -> str:
    request.clear_session()
    return "logged out"


store = RedisStore(Redis.from_url(os.environ["REDIS"]), handle_client_shutdown=True)
config = ServerSideSessionConfig(max_age=3600)
app = Litestar(
    [log_in, put, home, log_out],
    middleware=[config.middleware],
    stores={"sessions": store},
)
