"""What is the same for every request, in every framework."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from sessionledger.integrations.cookie import Cookie
from sessionledger.integrations.origin import is_origin
from sessionledger.integrations.request import Context, nothing
from sessionledger.web.challenges import is_quotable


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How requests and sessions go together. Raises `ValueError`, whose message names the setting.

    cookie: what browsers keep the token in. realm: what `WWW-Authenticate` calls the application.
    trusted_origins: whose pages may use the cookie too, such as `https://app.example.org`.
    context: what is noted of a request with the events that it causes; nothing, unless told.
    """

    cookie: Cookie = Cookie()
    realm: str = "sessionledger"
    trusted_origins: Collection[str] = frozenset()
    context: Context = nothing

    def __post_init__(self) -> None:
        if not isinstance(self.cookie, Cookie):
            raise ValueError("cookie must be a Cookie")  # noqa: TRY004  all are `ValueError`s
        if not is_quotable(self.realm):
            raise ValueError("realm must be printable ASCII without quotes and backslashes")
        if isinstance(self.trusted_origins, str) or not all(map(is_origin, self.trusted_origins)):
            raise ValueError("trusted_origins must be origins such as https://app.example.org")
        if not callable(self.context):
            raise ValueError("context must be a function of a request")  # noqa: TRY004
