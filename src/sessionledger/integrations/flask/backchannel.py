"""Back-channel logout as a view."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request

from sessionledger.integrations.flask.extension import Sessions
from sessionledger.integrations.sync import receive_logout
from sessionledger.web.backchannel.receiver import MAX_BODY_BYTES, LogoutReceiver


def backchannel_logout(sessions: Sessions, receiver: LogoutReceiver) -> Callable[[], Response]:
    """The view to which a provider sends logout tokens, by `POST`."""

    def backchannel_logout() -> Response:
        kind, body = request.content_type, request.stream.read(MAX_BODY_BYTES + 1)
        status, headers, content = receive_logout(receiver, sessions.store, kind, body)
        return Response(content, status, headers)

    return backchannel_logout
