"""`request.ledger_session`: the request session of Django, for views of both colours."""

from __future__ import annotations

import asyncio
from typing import Any

from django.core.exceptions import PermissionDenied

from sessionledger import IssuedSession, Session
from sessionledger.integrations.requirements import A_SESSION, Requirements
from sessionledger.integrations.sync import SyncRequestSession
from sessionledger.web.challenges import Denied


class Refused(PermissionDenied):
    """What is denied. The middleware answers it; where that is absent, it is still a 403."""

    def __init__(self, denied: Denied) -> None:
        super().__init__(denied.detail)
        self.denied = denied


class DjangoRequestSession(SyncRequestSession):
    """One request and its session.

    The calls that begin with `a` run in a thread, as Django's own do.
    """

    async def asession(self) -> Session | None:
        """As `session`."""
        return await asyncio.to_thread(self.session)

    async def arequired(self, requirements: Requirements = A_SESSION) -> Session:
        """As `required`."""
        return await asyncio.to_thread(self.required, requirements)

    async def alog_in(self, principal: str, **options: Any) -> IssuedSession:
        """As `log_in`."""
        return await asyncio.to_thread(self.log_in, principal, **options)

    async def alog_out(self, **options: Any) -> None:
        """As `log_out`."""
        await asyncio.to_thread(self.log_out, **options)

    async def arotate(self, **options: Any) -> IssuedSession:
        """As `rotate`."""
        return await asyncio.to_thread(self.rotate, **options)

    async def achange_credentials(self, **options: Any) -> IssuedSession:
        """As `change_credentials`."""
        return await asyncio.to_thread(self.change_credentials, **options)

    async def alog_out_everywhere(self, **options: Any) -> int:
        """As `log_out_everywhere`."""
        return await asyncio.to_thread(self.log_out_everywhere, **options)
