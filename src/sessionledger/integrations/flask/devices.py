"""“Where you are signed in”, as a blueprint.

app.register_blueprint(blueprint(sessions), url_prefix="/account")
"""

from flask import Blueprint, Response

from sessionledger.integrations.devices.page import DevicePage
from sessionledger.integrations.devices.views import DeviceViews, View
from sessionledger.integrations.flask.extension import Sessions
from sessionledger.integrations.sync import complete

__all__ = ["blueprint"]


def blueprint(sessions: Sessions, page: DevicePage | None = None) -> Blueprint:
    """The routes, for an application that has these sessions."""
    made = Blueprint("devices", __name__)

    def add(name: str, method: str, path: str, view: View) -> None:
        def answer(id: str = "") -> Response:
            body, status, headers, kind = complete(view(sessions.request_session.in_place, id))
            return Response(body, status, headers, content_type=kind)

        made.add_url_rule(path.replace("{id}", "<id>"), name, answer, methods=[method])

    for one in DeviceViews(page).routes:
        add(*one)
    return made
