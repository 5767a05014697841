"""The applications of the conformance suite, for servers with several workers.

Each answer names its worker. Only the framework of an application is imported.
"""

from __future__ import annotations

import os
from typing import Any

from sessionledger.integrations.asgi import App, Message, Receive, Scope, Send

WORKER = "x-worker"


def named(app: Any) -> Any:
    """An application of WSGI whose answers name the process."""

    def answer(environ: Any, start_response: Any) -> Any:
        def start(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
            return start_response(status, [*headers, (WORKER, str(os.getpid()))], *error)

        return app(environ, start)

    return answer


def named_in_loops(app: Any) -> App:
    """The same for an application of ASGI."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = (WORKER.encode(), str(os.getpid()).encode())
                message["headers"] = [*message.get("headers", ()), told]
            await send(message)

        await app(scope, receive, sending)

    return answer


def in_flask() -> Any:
    from tests.integrations.apps import flask_app

    return named(flask_app.served())


def in_django() -> Any:
    from tests.integrations.apps import django_app

    return named(django_app.served())


def in_starlette() -> App:
    from tests.integrations.apps import starlette_app

    return named_in_loops(starlette_app.served())


def in_fastapi() -> App:
    from tests.integrations.apps import fastapi_app

    return named_in_loops(fastapi_app.served())


def in_litestar() -> App:
    from tests.integrations.apps import litestar_app

    return named_in_loops(litestar_app.served())


def in_django_on_loops() -> App:
    from tests.integrations.apps import django_app

    return named_in_loops(django_app.served_to_loops())
