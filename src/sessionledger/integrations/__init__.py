"""Web frameworks: one module for each, and what they have in common.

`starlette`, `fastapi`, `flask`, `django` and `litestar` are imported by name and need the extra of
that name; `Settings`, `Cookie` and `Needs` are the same for all.
"""

from sessionledger.integrations.cookie import Cookie
from sessionledger.integrations.request import Request, user_agent_and_address
from sessionledger.integrations.requirements import Needs
from sessionledger.integrations.settings import Settings

__all__ = ["Cookie", "Needs", "Request", "Settings", "user_agent_and_address"]
