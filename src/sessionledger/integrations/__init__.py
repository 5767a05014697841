"""Web frameworks: one module for each, and what they have in common.

Import `starlette`, `fastapi`, `flask`, `django` or `litestar` by name; each needs the extra of that
name. `Settings`, `Cookie` and `Requirements` are the same for all.
"""

from sessionledger.integrations.request import Request, user_agent_and_address
from sessionledger.integrations.requirements import Requirements
from sessionledger.integrations.settings import Cookie, Settings

__all__ = ["Cookie", "Request", "Requirements", "Settings", "user_agent_and_address"]
