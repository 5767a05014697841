"""`/healthz`, `/readyz` and `/v1/stats`: is the process alive, can it write, how much is there."""

from __future__ import annotations

from litestar import get, route
from litestar.enums import HttpMethod

from sessionledger.server.auth.permissions import PUBLIC, requires
from sessionledger.server.http.problems import unavailable
from sessionledger.server.http.schemas import Health, StatsDocument, stats_document
from sessionledger.server.service.service import HandlerRequest, ledger_of, service_of

# Many monitors ask for the status alone.
METHODS = [HttpMethod.GET, HttpMethod.HEAD]


@route("/healthz", http_method=METHODS, opt=requires(PUBLIC), summary="Is the process alive")
async def healthz() -> Health:
    """200 from a process that is alive."""
    return Health()


@route("/readyz", http_method=METHODS, opt=requires(PUBLIC), summary="Can the ledger be written")
async def readyz(request: HandlerRequest) -> Health:
    """503 while it can't be written, and while the service starts or stops."""
    service = service_of(request)
    if service.stopping.is_set() or not await service.is_writable():
        raise unavailable("not_ready", "the ledger can't be written now")
    return Health()


@get("/v1/stats", opt=requires("sessions:read"), summary="How much there is")
async def read_stats(request: HandlerRequest) -> StatsDocument:
    """Events and sessions in the ledger."""
    return stats_document(await ledger_of(request).sessions.stats())


ROUTES = [healthz, readyz, read_stats]
