"""`/v1/webhooks`: the endpoints that are told what happens.

The access log says who made or ended one, by the name of the key: endpoints are in no history.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from typing import Annotated, TypeVar

from litestar import delete, get, post
from litestar.params import JSONBody, PathParameter

from sessionledger.server.auth.permissions import requires
from sessionledger.server.http.parameters import IdempotencyKey
from sessionledger.server.http.problems import HTTPProblem, unavailable
from sessionledger.server.http.webhook_schemas import (
    ID_PATTERN,
    Attempt,
    EndpointDocument,
    EndpointList,
    NewEndpoint,
    NewEndpointDocument,
    endpoint_document,
    new_endpoint_document,
)
from sessionledger.server.service.service import HandlerRequest, caller_of, ledger_of, service_of
from sessionledger.webhooks.administration import Webhooks
from sessionledger.webhooks.endpoints import (
    Endpoint,
    EndpointExists,
    EndpointLimitReached,
    InvalidEndpoint,
    UnsafeFile,
    host_of,
)

T = TypeVar("T")

Id = Annotated[str, PathParameter(pattern=ID_PATTERN, description="Which endpoint.")]

# A receiver that does not answer a test keeps one of these, and none that others wait for.
_threads = ThreadPoolExecutor(8, "sessionledger-webhooks")


@get("/v1/webhooks", opt=requires("webhooks:read"), summary="List webhook endpoints")
async def list_endpoints(request: HandlerRequest) -> EndpointList:
    """All endpoints, in the order they came. No answer has the secret of one that was made."""
    return EndpointList([endpoint_document(one) for one in await _ask(request, Webhooks.list)])


@post("/v1/webhooks", opt=requires("webhooks:write"), summary="Make a webhook endpoint")
async def add_endpoint(
    request: HandlerRequest, data: JSONBody[NewEndpoint], idempotency_key: IdempotencyKey = None
) -> NewEndpointDocument:
    """The secret stands in this answer only.

    With an `Idempotency-Key` the same request of the same caller, sent again, makes no second
    endpoint: it gives the first one a new secret. An address that is private or without TLS is
    refused unless the service's settings allow its host.
    """
    allowed = service_of(request).settings.webhook_hosts
    id = None
    if idempotency_key is not None:
        name = f"{caller_of(request).handle}\n{idempotency_key}"
        id = sha256(name.encode()).hexdigest()[:12]

    def add(webhooks: Webhooks) -> Endpoint:
        host = host_of(data.url)
        told = (data.url, data.types, data.principals)
        allow = host if host in allowed else None
        after = None if data.after is None else int(data.after)
        return webhooks.add(*told, allow=allow, after=after, id=id)

    return new_endpoint_document(await _ask(request, add))


@delete(
    "/v1/webhooks/{id:str}",
    opt=requires("webhooks:write"),
    status_code=200,
    summary="End a webhook endpoint",
)
async def remove_endpoint(request: HandlerRequest, id: Id) -> EndpointDocument:
    """Its secret and its place in the events are forgotten. 404 for one that is not there."""
    return endpoint_document(await _ask(request, lambda webhooks: webhooks.remove(id)))


@post(
    "/v1/webhooks/{id:str}/test",
    opt=requires("webhooks:write"),
    status_code=200,
    summary="Send a webhook endpoint a test message",
)
async def test_endpoint(request: HandlerRequest, id: Id) -> Attempt:
    """It is signed, of the type `webhook.test`, and sent once, also to a disabled endpoint."""
    return await _ask(request, lambda webhooks: webhooks.test(id))


@post(
    "/v1/webhooks/{id:str}/enable",
    opt=requires("webhooks:write"),
    status_code=200,
    summary="Enable a webhook endpoint again",
)
async def enable_endpoint(request: HandlerRequest, id: Id) -> EndpointDocument:
    """It is tried again at once, and goes on where it was left."""
    return endpoint_document(await _ask(request, lambda webhooks: webhooks.enable(id)))


async def _ask(request: HandlerRequest, call: Callable[[Webhooks], T | None]) -> T:
    """What a call answers. Raises `HTTPProblem`."""
    webhooks = ledger_of(request).webhooks
    if webhooks is None:
        raise HTTPProblem(409, "no_webhooks", "this ledger has no place for webhook endpoints")
    asked = asyncio.get_running_loop().run_in_executor(_threads, partial(call, webhooks))
    try:
        found = await asked
    except UnsafeFile:
        # Its message is for whoever runs the service, and names files.
        raise unavailable("unsafe_file", "the webhook endpoints can't be read now") from None
    except EndpointExists:
        detail = "that key had another request"
        raise HTTPProblem(409, "idempotency_key_reused", detail, field="Idempotency-Key") from None
    except EndpointLimitReached as error:
        raise HTTPProblem(409, "endpoint_limit_reached", str(error)) from None
    except InvalidEndpoint as error:
        raise HTTPProblem(422, "invalid_endpoint", str(error), field="url") from None
    if found is None:
        raise HTTPProblem(404, "not_found", "no webhook endpoint has that id")
    return found


ROUTES = [list_endpoints, add_endpoint, remove_endpoint, test_endpoint, enable_endpoint]
