"""`/healthz` and `/readyz`: is the process there, and can it do its work."""

from __future__ import annotations

from litestar import route
from litestar.enums import HttpMethod

from sessionledger.server.auth.permissions import NOBODY, needs
from sessionledger.server.http.problems import unavailable
from sessionledger.server.http.schemas import Health
from sessionledger.server.service.service import Call, service_of

# Many who watch over services want the status alone.
ASKED = [HttpMethod.GET, HttpMethod.HEAD]


@route("/healthz", http_method=ASKED, opt=needs(NOBODY), summary="Is the process alive")
async def healthz() -> Health:
    """It answers, so it is."""
    return Health()


@route("/readyz", http_method=ASKED, opt=needs(NOBODY), summary="Can the ledger be written")
async def readyz(request: Call) -> Health:
    """503 while it can't, and while the service starts or stops."""
    service = service_of(request)
    if service.stopping.is_set() or not await service.readiness.holds(service.ledger.log):
        raise unavailable("not_ready", "the ledger can't be written now")
    return Health()


ROUTES = [healthz, readyz]
