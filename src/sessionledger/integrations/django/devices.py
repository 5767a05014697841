"""“Where you are signed in”, as URL patterns.

urlpatterns = [path("account/", include(urls()))]
"""

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from sessionledger.integrations.devices.page import DevicePage
from sessionledger.integrations.devices.views import DeviceViews, View
from sessionledger.integrations.sync import complete

__all__ = ["urls"]


def urls(page: DevicePage | None = None) -> list[URLPattern]:
    """The patterns, for a project with `LedgerMiddleware`."""

    def pattern(name: str, method: str, place: str, view: View) -> URLPattern:
        def answer(request: HttpRequest, id: str = "") -> HttpResponse:
            body, status, headers, kind = complete(view(request.ledger_session.in_place, id))
            return HttpResponse(body, status=status, headers=headers, content_type=kind)

        # The view itself refuses what another site sent.
        methods = ["GET", "HEAD"] if method == "GET" else [method]
        guarded = csrf_exempt(require_http_methods(methods)(answer))
        return path(place[1:].replace("{id}", "<id>"), guarded, name=name)

    return [pattern(*one) for one in DeviceViews(page).routes]
