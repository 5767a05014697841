"""`request.ledger_session`: the request session of Django, for views of both colours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.core.exceptions import PermissionDenied

from sessionledger.integrations.sync import SyncRequestSession
from sessionledger.web.challenges import Denied

P = ParamSpec("P")
T = TypeVar("T")


class Refused(PermissionDenied):
    """What is denied. The middleware answers it; where that is absent, it is still a 403."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.detail)
        self.denied = denied


def _in_thread(method: Callable[P, T]) -> Callable[P, Coroutine[Any, Any, T]]:
    @wraps(method)
    async def awaited(*given: P.args, **named: P.kwargs) -> T:
        return await asyncio.to_thread(method, *given, **named)

    return awaited


class DjangoRequestSession(SyncRequestSession):
    """One request and its session.

    The calls that begin with `a` run in a thread, as Django's own do.
    """

    asession = _in_thread(SyncRequestSession.session)
    arequired = _in_thread(SyncRequestSession.required)
    alog_in = _in_thread(SyncRequestSession.log_in)
    abegin_anonymous = _in_thread(SyncRequestSession.begin_anonymous)
    apatch = _in_thread(SyncRequestSession.patch)
    alog_out = _in_thread(SyncRequestSession.log_out)
    arotate = _in_thread(SyncRequestSession.rotate)
    achange_credentials = _in_thread(SyncRequestSession.change_credentials)
    alog_out_everywhere = _in_thread(SyncRequestSession.log_out_everywhere)
