"""“Where you are signed in”, as a router.

app = Litestar([router(sessions, path="/account")], plugins=[sessions])
"""

from typing import Any

from litestar import Request, Response, Router
from litestar.exceptions import NotFoundException
from litestar.handlers import HTTPRouteHandler, route

from sessionledger.integrations.devices.page import DevicePage
from sessionledger.integrations.devices.views import DeviceViews, View
from sessionledger.integrations.litestar.extension import Sessions

__all__ = ["router"]


def router(sessions: Sessions, page: DevicePage | None = None, *, path: str = "/") -> Router:
    """The routes, for an application that has these sessions; not in the OpenAPI document."""

    def handler(name: str, method: Any, place: str, view: View) -> HTTPRouteHandler:
        @route(place.replace("{id}", "{id:str}"), http_method=method, name=name, status_code=200)
        async def answer(request: Request[Any, Any, Any]) -> Response[bytes]:
            if request.scope["raw_path"].endswith(b"/"):
                raise NotFoundException("the links of the page are relative to a path without /")
            asked = sessions.for_request(request)
            body, status, headers, kind = await view(asked, request.path_params.get("id", ""))
            kind = kind.partition(";")[0]  # it adds the charset itself
            return Response(body, status_code=status, headers=headers, media_type=kind)

        return answer

    handlers = [handler(*one) for one in DeviceViews(page).routes]
    return Router(path, route_handlers=handlers, include_in_schema=False)
