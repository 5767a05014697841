"""fastapi-users with its database strategy, on SQLite."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi_users import BaseUserManager, UUIDIDMixin
from fastapi_users.authentication.strategy.db import DatabaseStrategy
from fastapi_users_db_sqlalchemy import SQLAlchemyBaseUserTableUUID, SQLAlchemyUserDatabase
from fastapi_users_db_sqlalchemy.access_token import (
    SQLAlchemyAccessTokenDatabase,
    SQLAlchemyBaseAccessTokenTableUUID,
)
from sqlalchemy import Index, delete, event, insert, select
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.pool import StaticPool

from benchmarks.peers.contender import (
    CREATE,
    LIST,
    REVOKE,
    TTL,
    VALIDATE,
    Loop,
    Peer,
    Place,
    Promises,
    new_token,
    principal,
)


class Base(DeclarativeBase):
    """What both tables stand in."""


class User(SQLAlchemyBaseUserTableUUID, Base):
    """A principal."""


class AccessToken(SQLAlchemyBaseAccessTokenTableUUID, Base):
    """A session, with an index that makes listing quick; it carries no attributes."""


Index("accesstoken_by_user", AccessToken.user_id)


class Manager(UUIDIDMixin, BaseUserManager[User, uuid.UUID]):
    """Gets the user of a token."""


def _engine(folder: Path) -> AsyncEngine:
    """One connection, kept: as durable as ours and as quick as it gets."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{folder / 'users.db'}", poolclass=StaticPool)

    def tune(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for pragma in ("journal_mode = wal", "synchronous = full", "mmap_size = 1073741824"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", tune)
    return engine


class _Calls:
    """What its dependencies do for a request, without FastAPI: a session of the database each."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._sessions = async_sessionmaker(engine, expire_on_commit=False)
        self.ids: dict[str, uuid.UUID] = {}

    def _strategy(self, database: AsyncSession) -> Any:
        tokens = SQLAlchemyAccessTokenDatabase(database, AccessToken)
        return DatabaseStrategy(tokens, lifetime_seconds=TTL)

    async def validate(self, token: str) -> Any:
        async with self._sessions() as database:
            manager = Manager(SQLAlchemyUserDatabase(database, User))
            return await self._strategy(database).read_token(token, manager)

    async def create(self, owner: str) -> str:
        async with self._sessions() as database:
            token = await self._strategy(database).write_token(User(id=self.ids[owner]))
            return str(token)

    async def end(self, token: str) -> None:
        async with self._sessions() as database:
            await self._strategy(database).destroy_token(token, None)

    async def listing(self, owner: str) -> list[Any]:
        async with self._sessions() as database:
            mine = select(AccessToken).where(AccessToken.user_id == self.ids[owner])
            return list((await database.execute(mine)).scalars())

    async def revoke(self, owner: str) -> None:
        async with self._sessions() as database:
            mine = delete(AccessToken).where(AccessToken.user_id == self.ids[owner])
            await database.execute(mine, execution_options={"synchronize_session": False})
            await database.commit()


async def _fill(engine: AsyncEngine, place: Place, calls: _Calls) -> list[str]:
    calls.ids = {name: uuid.uuid4() for name in place.principals + place.newcomers}
    users = [
        {"id": id, "email": f"{name}@example.org", "hashed_password": "!"}
        for name, id in calls.ids.items()
    ]
    tokens = [new_token() for _ in range(place.sessions)]
    rows = [
        {"token": token, "user_id": calls.ids[principal(number)]}
        for number, token in enumerate(tokens)
    ]
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(User), users)
        await connection.execute(insert(AccessToken), rows)
    return tokens


@contextmanager
def peer(place: Place, _: str) -> Iterator[Peer]:
    loop, engine = Loop(), _engine(Path(place.folder))
    calls = _Calls(engine)
    tokens = loop.run(_fill(engine, place, calls))
    names = {id: name for name, id in calls.ids.items()}
    yield Peer(
        name="fastapi-users, database",
        version=f"fastapi-users {version('fastapi-users')}, SQLAlchemy {version('sqlalchemy')}",
        promises=Promises("yes", "yes, in every process", "by a query of your own", "yes"),
        measured={
            VALIDATE: "`DatabaseStrategy.read_token` in a session of the database, with the user",
            CREATE: "`DatabaseStrategy.write_token`; it carries no attributes",
            LIST: "a `select` of ours by an index of ours, all ten",
            REVOKE: "a `delete` of ours by an index of ours, ten tokens",
        },
        tokens=tokens,
        validate=calls.validate,
        whose=lambda user: names[user.id],
        create=calls.create,
        listing=calls.listing,
        revoke=calls.revoke,
        end=calls.end,
        loop=loop,
        only=(VALIDATE, CREATE, LIST, REVOKE),
    )
    loop.run(engine.dispose())
    loop.close()
