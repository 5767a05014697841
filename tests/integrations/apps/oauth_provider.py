"""An OAuth 2 provider: Authlib's own authorization server, on a real socket."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2.rfc6749 import AuthorizationCodeMixin, ClientMixin
from authlib.oauth2.rfc6749.grants import AuthorizationCodeGrant
from flask import Flask, jsonify, request
from werkzeug.serving import make_server

CLIENT = {"client_id": "shop", "client_secret": "only for tests"}


class Client(ClientMixin):
    """The one client there is."""

    def get_client_id(self) -> str:
        return CLIENT["client_id"]

    def get_default_redirect_uri(self) -> str:
        return ""

    def get_allowed_scope(self, scope: str | None) -> str:
        return scope or ""

    def check_redirect_uri(self, redirect_uri: str) -> bool:
        return redirect_uri.endswith("/callback")

    def check_client_secret(self, client_secret: str) -> bool:
        return client_secret == CLIENT["client_secret"]

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_response_type(self, response_type: str) -> bool:
        return response_type == "code"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "authorization_code"


@dataclass
class Code(AuthorizationCodeMixin):
    """A code that was given out, and to whom."""

    code: str
    user: str
    redirect_uri: str

    def get_redirect_uri(self) -> str:
        return self.redirect_uri

    def get_scope(self) -> str:
        return ""


@dataclass
class Issued:
    """Codes and tokens that were given out."""

    codes: dict[str, Code] = field(default_factory=dict)
    users: dict[str, str] = field(default_factory=dict)


def make() -> Flask:
    """The provider. `/authorize?user=…` stands for somebody who logged in there and agreed."""
    app, issued = Flask("provider"), Issued()

    class Grant(AuthorizationCodeGrant):
        TOKEN_ENDPOINT_AUTH_METHODS = ["client_secret_basic"]  # noqa: RUF012

        def save_authorization_code(self, code: str, asked: Any) -> None:
            uri = asked.payload.redirect_uri
            issued.codes[code] = Code(code, asked.user, uri)

        def query_authorization_code(self, code: str, client: Any) -> Code | None:
            return issued.codes.get(code)

        def delete_authorization_code(self, authorization_code: Code) -> None:
            del issued.codes[authorization_code.code]

        def authenticate_user(self, authorization_code: Code) -> str:
            return authorization_code.user

    def save(token: dict[str, Any], asked: Any) -> None:
        issued.users[token["access_token"]] = asked.user

    server = AuthorizationServer(app, query_client=lambda _: Client(), save_token=save)
    server.register_grant(Grant)

    @app.get("/authorize")
    def authorize() -> Any:
        user = request.args["user"]
        grant = server.get_consent_grant(end_user=user)
        return server.create_authorization_response(grant_user=user, grant=grant)

    @app.post("/token")
    def token() -> Any:
        return server.create_token_response()

    @app.get("/me")
    def me() -> Any:
        return jsonify(name=issued.users[request.headers["Authorization"].removeprefix("Bearer ")])

    return app


@contextmanager
def running() -> Iterator[str]:
    """The address of a provider that runs meanwhile."""
    server = make_server("127.0.0.1", 0, make(), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
