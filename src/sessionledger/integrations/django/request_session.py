"""`request.ledger`: a visit in plain calls, and the same calls for views that are coroutines."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.exceptions import PermissionDenied

from sessionledger import IssuedSession, Session
from sessionledger.integrations.requirements import A_SESSION, Needs
from sessionledger.integrations.sync import BlockingVisit
from sessionledger.web.challenges import Denied


class Refused(PermissionDenied):
    """What is denied. The middleware answers it; where that is absent, it is still a 403."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.detail)
        self.denied = denied


class DjangoVisit(BlockingVisit):
    """One request, and what it may do with its session. With an `a` before their names the calls
    are made in a thread, as Django's own are, and mean the same session."""

    async def asession(self) -> Session | None:
        """As `session`."""
        return await asyncio.to_thread(self.session)

    async def arequired(self, needs: Needs = A_SESSION) -> Session:
        """As `required`."""
        return await asyncio.to_thread(self.required, needs)

    async def alog_in(self, principal: str, **told: Any) -> IssuedSession:
        """As `log_in`."""
        return await asyncio.to_thread(self.log_in, principal, **told)

    async def alog_out(self, **told: Any) -> None:
        """As `log_out`."""
        await asyncio.to_thread(self.log_out, **told)

    async def arotate(self, **told: Any) -> IssuedSession:
        """As `rotate`."""
        return await asyncio.to_thread(self.rotate, **told)
