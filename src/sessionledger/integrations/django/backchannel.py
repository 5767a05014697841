"""Back-channel logout as a view."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from sessionledger import SessionStore
from sessionledger.integrations.django import configuration
from sessionledger.integrations.sync import receive_logout
from sessionledger.web.backchannel.receiver import MAX_BODY_BYTES, LogoutReceiver


def backchannel_logout(
    receiver: LogoutReceiver, store: Callable[[], SessionStore] = configuration.store
) -> Callable[[HttpRequest], HttpResponse]:
    """The view to which a provider sends logout tokens. store: whose sessions end."""

    def backchannel_logout(request: HttpRequest) -> HttpResponse:
        body = request.read(MAX_BODY_BYTES + 1) if request.method == "POST" else b""
        status, headers, content = receive_logout(receiver, store(), request.content_type, body)
        return HttpResponse(content, status=status, headers=headers)

    view: Callable[[HttpRequest], HttpResponse] = csrf_exempt(backchannel_logout)
    return view
