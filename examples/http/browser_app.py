"""An application for browsers: the token in a `__Host-` cookie, which nobody else gets to use.

    SERVICE=http://127.0.0.1:8420 KEY_HEADER=ledger/admin.key \\
        uvicorn --app-dir examples/http --port 9000 browser_app:app

The cookie. `__Host-` makes browsers insist on `Secure`, `Path=/` and no `Domain`: no other host,
also no sibling or subdomain, can set it. `HttpOnly` keeps scripts from reading it, `SameSite=Lax`
keeps other sites from sending it with anything but a link.

CSRF. A browser sends the cookie by itself, so a request that changes something needs to be known
as the application's own. `sessionledger.web.cross_site` decides that, as it does for `/auth` and
for the integrations. This holds as long as a GET changes nothing.

Fixation. Login begins a new session; it never takes over a token that the browser came with.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from pydantic import BaseModel

from sessionledger.web.cross_site import CROSS_SITE, may_use_cookie, site_of

COOKIE = "__Host-session"

SERVICE = os.environ["SERVICE"]
NAME, _, KEY = Path(os.environ["KEY_HEADER"]).read_text().strip().partition(": ")
ADMIN = {NAME: KEY}


class Login(BaseModel):
    """What somebody typed."""

    name: str
    password: str


def check_origin(request: Request) -> None:
    """Refuse what another site made the browser send."""
    headers = request.headers.raw
    site = site_of(request.url.scheme, headers, secure_cookie=True)
    if not may_use_cookie(request.method, site, headers, trusted=()):
        raise HTTPException(CROSS_SITE.status, CROSS_SITE.detail)


def whose(request: Request) -> str:
    """The principal of the browser's session."""
    token = request.cookies.get(COOKIE)
    answer = httpx.get(f"{SERVICE}/v1/session", headers={"Authorization": f"Bearer {token}"})
    if answer.status_code != 200:
        raise HTTPException(401, "log in first")
    return str(answer.json()["principal"])


Principal = Annotated[str, Depends(whose)]
app = FastAPI(dependencies=[Depends(check_origin)])


@app.post("/login")
def login(response: Response, who: Login) -> str:
    """Check the password as your application does; then begin a session."""
    if who.password != "correct horse":
        raise HTTPException(401, "name or password are wrong")
    made = httpx.post(f"{SERVICE}/v1/sessions", headers=ADMIN, json={"principal": who.name})
    made.raise_for_status()
    response.set_cookie(
        COOKIE, made.json()["token"], secure=True, httponly=True, samesite="lax", path="/"
    )
    return f"welcome, {who.name}"


@app.get("/")
def home(principal: Principal) -> str:
    """For users who are logged in."""
    return f"hello, {principal}"


@app.post("/logout")
def logout(request: Request, response: Response, principal: Principal) -> str:
    """The session ends in the ledger; the cookie is only a copy of its token."""
    token = request.cookies[COOKIE]
    httpx.delete(f"{SERVICE}/v1/session", headers={"Authorization": f"Bearer {token}"})
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax", path="/")
    return f"goodbye, {principal}"
