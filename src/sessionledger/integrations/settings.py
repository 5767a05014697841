"""What is the same for every request, in every framework."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from sessionledger.integrations.cookie import Cookie
from sessionledger.integrations.request import Context, Request, nothing
from sessionledger.web.challenges import is_quotable
from sessionledger.web.cross_site import (
    Origin,
    is_from_own_page,
    may_use_cookie,
    parse_origin,
    site_of,
)


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
        if isinstance(self.trusted_origins, str) or not all(map(_is_origin, self.trusted_origins)):
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

    def is_from_own_page(self, request: Request) -> bool:
        """Whether a page of this site, or of a trusted one, sent a request."""
        site = self._site_of(request)
        return self.cross_site_cookies or is_from_own_page(
            site, request.headers, self.trusted_origins
        )

    def _site_of(self, request: Request) -> Origin | None:
        return site_of(request.scheme, request.headers, secure_cookie=self.cookie.secure)


def _is_origin(text: object) -> bool:
    return isinstance(text, str) and parse_origin(text) is not None
