"""“Where you are signed in”: the routes of Starlette. They are not in the OpenAPI document.

app.include_router(APIRouter(routes=routes(sessions)), prefix="/account")
"""

from sessionledger.integrations.starlette.devices import routes

__all__ = ["routes"]
