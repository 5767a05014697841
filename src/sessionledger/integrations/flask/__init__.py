"""Flask: an extension, with decorators for views.

sessions = Sessions(lambda app: SessionStore.open(app.config["LEDGER"]))
sessions.init_app(app)


@app.get("/account")
@sessions.required
def account() -> str:
    return sessions.request_session.required().principal
"""

from __future__ import annotations

from sessionledger.integrations.flask.extension import Sessions
from sessionledger.integrations.flask.session_interface import LedgerSessionInterface

__all__ = ["LedgerSessionInterface", "Sessions"]
