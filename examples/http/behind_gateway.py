"""A FastAPI application behind a gateway, which asks the service about every request.

    uvicorn --app-dir examples/http --port 9000 behind_gateway:app

The gateway is configured as `docs/gateways.md` says. It tells in headers whose session a request
has. So the application listens where nothing but the gateway reaches it.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import unquote

from fastapi import Depends, FastAPI, Header, Response
from pydantic import BaseModel


class Visitor(BaseModel):
    """Whose session it is, by which handle, and what it may do."""

    principal: str
    handle: str
    scopes: list[str]


def visitor(
    response: Response,
    x_auth_principal: Annotated[str, Header()],
    x_auth_handle: Annotated[str, Header()],
    x_auth_scope: Annotated[str, Header()] = "",
) -> Visitor:
    """Who is there; values are percent-encoded, since a name may be any text.

    No shared cache gives the answer to anybody else.
    """
    response.headers["Cache-Control"] = "private"
    response.headers["Vary"] = "Cookie, Authorization"
    return Visitor(
        principal=unquote(x_auth_principal),
        handle=unquote(x_auth_handle),
        scopes=unquote(x_auth_scope).split(),
    )


app = FastAPI()


@app.api_route("/{path:path}", methods=["GET", "POST"])
def whoever(who: Annotated[Visitor, Depends(visitor)]) -> Visitor:
    """Only requests with a live session get this far."""
    return who
