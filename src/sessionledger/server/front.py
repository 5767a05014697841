"""The outermost application: lifespan, and what concerns every request."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AsyncExitStack

from sessionledger.server.asgi import App, Receive, Scope, Send
from sessionledger.server.refusals import log_failure
from sessionledger.server.service import Service


class Front:
    """The framework's application, and what is answered without it."""

    def __init__(self, service: Service, framework: App) -> None:
        self.service = service
        self.framework = framework

    def running(self) -> AbstractAsyncContextManager[None]:
        """The service's ledger is open in here: what the lifespan does under a server."""
        return self.service.running()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or live as long as the server does."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await self.framework(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as stack:
            await receive()
            try:
                await stack.enter_async_context(self.running())
            except Exception as error:
                log_failure(error)
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})
