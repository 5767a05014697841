"""The HTTP service: a ledger for any stack that speaks HTTP.

Every module here uses the public names of `sessionledger` only. `create_app` is the service as an
ASGI application, `sessionledger serve` runs it. What it answers stands in docs/http.md.
"""

from typing import TYPE_CHECKING

from sessionledger.server.settings import Settings

__all__ = ["Settings", "create_app"]

if TYPE_CHECKING:
    from sessionledger.server.app import create_app
else:

    def __getattr__(name: str) -> object:
        """The framework is imported by whoever serves, and not to make a key (PEP 562)."""
        if name != "create_app":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from sessionledger.server.app import create_app

        return create_app
