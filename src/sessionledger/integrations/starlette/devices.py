"""“Where you are signed in”, as routes.

Mount("/account", routes=routes(sessions))
"""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from sessionledger.integrations.asgi import AsgiSessions
from sessionledger.integrations.devices.page import DevicePage
from sessionledger.integrations.devices.views import DeviceViews, View

__all__ = ["routes"]


def routes(sessions: AsgiSessions, page: DevicePage | None = None) -> list[BaseRoute]:
    """The routes, for an application that has these sessions."""

    def route(name: str, method: str, path: str, view: View) -> Route:
        async def answer(request: Request) -> Response:
            asked = sessions.for_request(request)
            return Response(*await view(asked, request.path_params.get("id", "")))

        return Route(path, answer, methods=[method], name=name)

    return [route(*one) for one in DeviceViews(page).routes]
