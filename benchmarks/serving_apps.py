"""What `/auth` stands beside: services that say whether a token is good, and one that says nothing.

Each is an application factory for uvicorn, and writes the header that a client of it sends into the
file that `CREDENTIALS` names. All but the first run where the peers are installed.
"""

from __future__ import annotations

import os
import secrets
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PRINCIPAL = "alice"
LIFETIME = 3600


def _tell(header: str) -> None:
    """Whole at once: who waits for the file reads it as soon as it is there."""
    path = Path(os.environ["CREDENTIALS"])
    path.with_suffix(".new").write_text(header)
    path.with_suffix(".new").rename(path)


def constant() -> Any:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = [(b"content-length", b"0"), (b"x-auth-principal", PRINCIPAL.encode())]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": b""})

    _tell("Authorization: Bearer anything")
    return app


def _starlette(answer: Any, *middleware: Any, **options: Any) -> Any:
    from starlette.applications import Starlette
    from starlette.routing import Route

    return Starlette(routes=[Route("/auth", answer)], middleware=list(middleware), **options)


def _passed(principal: str) -> Any:
    from starlette.responses import Response

    return Response(headers={"x-auth-principal": principal})


def pyjwt() -> Any:
    import jwt

    secret, decode = secrets.token_bytes(32), jwt.PyJWT().decode
    claims = {"sub": PRINCIPAL, "exp": int(time.time()) + LIFETIME}
    _tell(f"Authorization: Bearer {jwt.encode(claims, secret, 'HS256')}")

    async def answer(request: Any) -> Any:
        token = request.headers["authorization"].removeprefix("Bearer ")
        return _passed(decode(token, secret, algorithms=["HS256"])["sub"])

    return _starlette(answer)


def cookie() -> Any:
    from base64 import b64encode

    import itsdangerous
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware

    secret = secrets.token_urlsafe(32)
    signed = itsdangerous.TimestampSigner(secret).sign(b64encode(b'{"sub":"alice"}')).decode()
    _tell(f"Cookie: session={signed}")

    async def answer(request: Any) -> Any:
        return _passed(request.session["sub"])

    return _starlette(answer, Middleware(SessionMiddleware, secret_key=secret))


def starsessions_redis() -> Any:
    import redis.asyncio
    from starlette.middleware import Middleware
    from starsessions import SessionAutoloadMiddleware, SessionMiddleware
    from starsessions.stores.redis import RedisStore

    store = RedisStore(connection=redis.asyncio.Redis(port=int(os.environ["REDIS_PORT"])))
    token = secrets.token_urlsafe(32)

    @asynccontextmanager
    async def filled(_: Any) -> AsyncIterator[None]:
        await store.write(token, b'{"sub": "alice"}', lifetime=LIFETIME, ttl=LIFETIME)
        _tell(f"Cookie: session={token}")
        yield

    async def answer(request: Any) -> Any:
        return _passed(request.session["sub"])

    kept = Middleware(SessionMiddleware, store=store, lifetime=LIFETIME, cookie_https_only=False)
    return _starlette(answer, kept, Middleware(SessionAutoloadMiddleware), lifespan=filled)


def fastapi_users() -> Any:
    # FastAPI can't do without the package that this one is measured without.
    sys.modules.pop("opentelemetry", None)
    from fastapi import Depends, FastAPI
    from fastapi_users import FastAPIUsers
    from fastapi_users.authentication import AuthenticationBackend, BearerTransport
    from fastapi_users.authentication.strategy.db import DatabaseStrategy
    from fastapi_users_db_sqlalchemy import SQLAlchemyUserDatabase
    from fastapi_users_db_sqlalchemy.access_token import SQLAlchemyAccessTokenDatabase
    from sqlalchemy.ext.asyncio import async_sessionmaker

    from benchmarks.peers import fastapi_users_peer as tables

    engine = tables._engine(Path(os.environ["CREDENTIALS"]).parent)
    sessions = async_sessionmaker(engine, expire_on_commit=False)
    user = tables.User(
        id=uuid.uuid4(), email="alice@example.org", hashed_password="!", is_active=True
    )

    async def database() -> AsyncIterator[Any]:
        async with sessions() as opened:
            yield opened

    async def manager(opened: Any = Depends(database)) -> Any:  # noqa: B008  as FastAPI is told
        return tables.Manager(SQLAlchemyUserDatabase(opened, tables.User))

    def strategy(opened: Any = Depends(database)) -> Any:  # noqa: B008  as FastAPI is told
        tokens = SQLAlchemyAccessTokenDatabase(opened, tables.AccessToken)
        return DatabaseStrategy(tokens, lifetime_seconds=LIFETIME)

    @asynccontextmanager
    async def filled(_: Any) -> AsyncIterator[None]:
        async with engine.begin() as connection:
            await connection.run_sync(tables.Base.metadata.create_all)
        async with sessions() as opened:
            opened.add(user)
            await opened.commit()
            _tell(f"Authorization: Bearer {await strategy(opened).write_token(user)}")
        yield

    backend = AuthenticationBackend("db", BearerTransport("login"), strategy)
    current = FastAPIUsers[Any, Any](manager, [backend]).current_user(active=True)
    app = FastAPI(lifespan=filled)

    @app.get("/auth")
    async def answer(found: Any = Depends(current)) -> Any:  # noqa: B008  as FastAPI is told
        return _passed(found.email)

    return app
