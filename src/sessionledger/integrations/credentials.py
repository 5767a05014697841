"""The tokens that a request comes with, and which of them counts."""

from __future__ import annotations

from sessionledger.integrations.request import Request
from sessionledger.integrations.settings import Settings
from sessionledger.web.challenges import Denied, malformed, missing
from sessionledger.web.credentials import Malformed, bearer_token, cookie_token
from sessionledger.web.cross_site import CROSS_SITE


class Presented:
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


def presented(request: Request, settings: Settings) -> Presented:
    """The tokens of a request, and which of them counts."""
    cookie = cookie_token(request.headers, settings.cookie.name)
    try:
        bearer = bearer_token(request.headers)
    except Malformed:
        return Presented(None, cookie, None, malformed(settings.realm))
    if bearer is not None:
        return Presented(bearer, cookie, bearer)
    if cookie is None:
        return Presented(None, None, None, missing(settings.realm))
    if not settings.may_use_cookie(request):
        return Presented(None, cookie, None, CROSS_SITE)
    return Presented(None, cookie, cookie)
