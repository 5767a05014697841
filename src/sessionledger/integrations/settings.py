"""Settings of an application, and the cookie that its browsers keep the token in (RFC 6265bis)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Literal

import msgspec

from sessionledger import IssuedSession
from sessionledger.integrations.request import Context, Request, nothing
from sessionledger.secrecy import without_tokens
from sessionledger.web.challenges import Denied, is_quotable, malformed, missing
from sessionledger.web.credentials import Malformed, bearer_token, cookie_token, is_cookie_name
from sessionledger.web.cross_site import (
    CROSS_SITE,
    Origin,
    is_from_own_page,
    is_origin,
    may_use_cookie,
    site_of,
)


class Cookie(msgspec.Struct, frozen=True, kw_only=True):
    """A cookie that only browsers send and no script reads. Raises `ValueError`.

    name: with `__Host-` browsers insist on `Secure`, `Path=/` and no `Domain`, so that no other
    host, and no subdomain, can set it. same_site: `Lax` comes along when a link is followed here
    from elsewhere, `Strict` does not. secure: False only to develop without TLS, with another name.
    path, domain: where it is sent; without a domain, to the host that set it alone.
    """

    name: str = "__Host-session"
    same_site: Literal["Lax", "Strict"] = "Lax"
    secure: bool = True
    path: str = "/"
    domain: str | None = None

    def __post_init__(self) -> None:
        if not is_cookie_name(self.name):
            raise ValueError("name must be the name of a cookie")
        if self.same_site not in ("Lax", "Strict"):
            raise ValueError("same_site must be Lax or Strict")
        if not self.path.startswith("/") or not _is_plain(self.path):
            raise ValueError("path must begin with / and hold no semicolon, space or other control")
        if self.domain is not None and not (self.domain and _is_plain(self.domain)):
            raise ValueError("domain must be the name of a host")
        self._check_prefix()

    def _check_prefix(self) -> None:
        """What browsers ask of names, whatever their case; they ignore a cookie that breaks it."""
        name = self.name.lower()
        if name.startswith(("__host-", "__secure-")) and not self.secure:
            raise ValueError(f"{self.name} must be secure: browsers ignore it otherwise")
        if name.startswith("__host-") and (self.path != "/" or self.domain is not None):
            raise ValueError(f"{self.name} must have the path / and no domain: browsers ignore it")

    def keeping(self, issued: IssuedSession) -> str:
        """`Set-Cookie` for a session that was just issued.

        It is kept for as long as the session can live: to the deadline, to which its end may slide.
        Before that the ledger says when it is over, not the browser.
        """
        end = issued.expires_at if issued.deadline is None else issued.deadline
        return self._text(issued.token, _seconds(issued.last_seen_at, end))

    def removing(self) -> str:
        """`Set-Cookie` that has the browser forget it."""
        return self._text("", 0)

    def _text(self, value: str, max_age: int) -> str:
        parts = [f"{self.name}={value}", f"Max-Age={max_age}", f"Path={self.path}"]
        parts += [] if self.domain is None else [f"Domain={self.domain}"]
        parts += ["Secure"] if self.secure else []
        return "; ".join([*parts, "HttpOnly", f"SameSite={self.same_site}"])


def _seconds(now: datetime, end: datetime) -> int:
    return max(0, int((end - now).total_seconds()))


def _is_plain(text: str) -> bool:
    return all("\x20" < c < "\x7f" and c != ";" for c in text)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How requests and sessions go together. Raises `ValueError`, whose message names the setting.

    cookie: what browsers keep the token in. realm: what `WWW-Authenticate` calls the application.
    trusted_origins: whose pages may use the cookie too, such as `https://app.example.org`.
    cross_site_cookies: True lets every site use the cookie: forged requests are yours to refuse.
    context: what is noted of a request with the events that it causes; nothing, unless told.
    """

    cookie: Cookie = Cookie()
    realm: str = "sessionledger"
    trusted_origins: Collection[str] = frozenset()
    cross_site_cookies: bool = False
    context: Context = nothing

    def __post_init__(self) -> None:
        if not isinstance(self.cookie, Cookie):
            raise ValueError("cookie must be a Cookie")  # noqa: TRY004  all are `ValueError`s
        if not is_quotable(self.realm):
            raise ValueError("realm must be printable ASCII without quotes and backslashes")
        if isinstance(self.trusted_origins, str) or not all(map(is_origin, self.trusted_origins)):
            raise ValueError("trusted_origins must be origins such as https://app.example.org")
        if not isinstance(self.cross_site_cookies, bool):
            raise ValueError("cross_site_cookies must be True or False")  # noqa: TRY004
        if not callable(self.context):
            raise ValueError("context must be a function of a request")  # noqa: TRY004

    def may_use_cookie(self, request: Request) -> bool:
        """Whether a cookie that came with a request counts."""
        site = self._site_of(request)
        return self.cross_site_cookies or may_use_cookie(
            request.method, site, request.headers, self.trusted_origins
        )

    def context_of(self, request: Request) -> Mapping[str, str] | None:
        """What the history keeps of a request, without any token that the client put into it."""
        told = self.context(request)
        return {name: without_tokens(text) for name, text in told.items()} or None

    def is_from_own_page(self, request: Request) -> bool:
        """Whether a page of this site, or of a trusted one, sent a request."""
        site = self._site_of(request)
        return self.cross_site_cookies or is_from_own_page(
            site, request.headers, self.trusted_origins
        )

    def _site_of(self, request: Request) -> Origin | None:
        return site_of(request.scheme, request.headers, secure_cookie=self.cookie.secure)


class Credentials:
    """What a request came with; its `repr` does not show it. token: of the header, or else of the
    cookie. denied: why that is None."""

    __slots__ = ("bearer", "cookie", "denied", "token")

    def __init__(
        self,
        bearer: str | None,
        cookie: str | None,
        token: str | None,
        denied: Denied | None = None,
    ) -> None:
        self.bearer = bearer
        self.cookie = cookie
        self.token = token
        self.denied = denied


def credentials_of(request: Request, settings: Settings) -> Credentials:
    """The tokens of a request, and which of them counts."""
    cookie = cookie_token(request.headers, settings.cookie.name)
    try:
        bearer = bearer_token(request.headers)
    except Malformed:
        return Credentials(None, cookie, None, malformed(settings.realm))
    if bearer is not None:
        return Credentials(bearer, cookie, bearer)
    if cookie is None:
        return Credentials(None, None, None, missing(settings.realm))
    if not settings.may_use_cookie(request):
        return Credentials(None, cookie, None, CROSS_SITE)
    return Credentials(None, cookie, cookie)
