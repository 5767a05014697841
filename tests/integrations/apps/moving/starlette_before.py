"""A shop on starsessions."""

import os

from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starsessions import SessionAutoloadMiddleware, SessionMiddleware
from starsessions.stores.redis import RedisStore


async def log_in(request: Request) -> PlainTextResponse:
    request.session["user_id"] = request.query_params["name"]
    return PlainTextResponse("logged in")


async def put(request: Request) -> PlainTextResponse:
    request.session.setdefault("basket", []).append(request.query_params["put"])
    return PlainTextResponse("put")


async def home(request: Request) -> PlainTextResponse:
    name = request.session.get("user_id", "visitor")
    return PlainTextResponse(f"{name} has {request.session.get('basket')} ")


async def log_out(request: Request) -> PlainTextResponse:
    request.session.clear()
    return PlainTextResponse("logged out")


store = RedisStore(connection=Redis.from_url(os.environ["REDIS"]))
app = Starlette(
    routes=[
        Route("/", home),
        Route("/login", log_in, methods=["POST"]),
        Route("/basket", put, methods=["POST"]),
        Route("/logout", log_out, methods=["POST"]),
    ],
    middleware=[
        Middleware(SessionMiddleware, store=store, lifetime=3600, cookie_https_only=False),
        Middleware(SessionAutoloadMiddleware),
    ],
)
