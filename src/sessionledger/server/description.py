"""The OpenAPI document: the framework's own, completed with what the framework does not know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig

from sessionledger import __version__
from sessionledger.server.auth.permissions import BEARER, PUBLIC
from sessionledger.server.http import history_schemas, schemas, webhook_schemas
from sessionledger.server.http.forms import FORM
from sessionledger.server.http.parameters import HANDLE_PATTERN
from sessionledger.server.http.problems import MEDIA_TYPE, Problem
from sessionledger.server.oauth.endpoints import Introspection

SCHEMES = {
    "adminKey": "An admin key with the scope that the operation names.",
    "sessionToken": "The token of a session.",
}
PAGES = {"SessionPage": "cursor", "History": "after"}
"""What the next page is asked with, by the documents that are pages."""
METHODS = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
CLIENT = {
    "type": "http",
    "scheme": "basic",
    "description": "The name of an admin key, and the key as the password; or both in the form.",
}


LIMITED = "Too many requests; `Retry-After` says when to send it again."
_NAMES = ("Retry-After", "RateLimit-Policy", "RateLimit")
LIMIT_HEADERS = {"headers": {name: {"schema": {"type": "string"}} for name in _NAMES}}


def describe(routes: Sequence[HTTPRouteHandler]) -> bytes:
    """The document of these routes, and of what is answered without the framework."""
    return _describe(tuple(routes))


@cache
def _describe(routes: tuple[HTTPRouteHandler, ...]) -> bytes:
    framework = Litestar(
        route_handlers=routes,
        openapi_config=OpenAPIConfig(
            title="sessionledger", version=__version__, use_handler_docstrings=True
        ),
        logging_config=None,
    )
    document = framework.openapi_schema.to_schema()
    for route in routes:
        for path in route.paths:
            operation = document["paths"][path.replace(":str", "")]
            for method in route.http_methods:
                if method != "OPTIONS":
                    _complete(operation[method.lower()], route.opt)
    document["paths"] |= _without_framework()
    _link(document["paths"])
    _add_components(document["components"])
    return msgspec.json.encode(document)


def at_prefix(document: bytes, prefix: str) -> bytes:
    """The document of a service all of whose paths are below a prefix."""
    return document.replace(_SERVERS, _servers(prefix), 1)


def _servers(prefix: str) -> bytes:
    return b'"servers":' + msgspec.json.encode([{"url": prefix or "/"}])


_SERVERS = _servers("")


def _complete(operation: dict[str, Any], opt: Mapping[str, Any]) -> None:
    """Who may call it, and how it fails."""
    permission = opt["permission"]
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"] = _without_null(parameter["schema"])
        if "items" in schema:
            schema["items"] = {"type": "string", "pattern": HANDLE_PATTERN}
    responses = operation["responses"]
    for status in [status for status in responses if status[0] in "45"]:
        del responses[status]
    responses["default"] = _problem("Anything else is a problem (RFC 9457).")
    if permission == PUBLIC:
        return
    scheme = "sessionToken" if permission == BEARER else "adminKey"
    operation["security"] = [{scheme: []}]
    responses["400"] = _problem("What was sent can't be taken.")
    responses["401"] = _problem("No credentials, or none that are good.")
    responses["429"] = _problem(LIMITED) | LIMIT_HEADERS
    if permission != BEARER:
        scopes = " and ".join(f"`{scope}`" for scope in (permission, *opt["also"]))
        operation["description"] += f" Takes the scope {scopes}."
        responses["403"] = _problem("The key lacks the scope.")


def _link(paths: dict[str, Any]) -> None:
    """What can be done next: with a session that has a new token, and after a page."""
    operations = {
        operation["operationId"]: (path, operation)
        for path, methods in paths.items()
        for operation in methods.values()
    }
    begin = paths["/v1/sessions"]["post"]
    handle, token = "$response.body#/handle", "$response.body#/token"
    links: dict[str, Any] = {
        id: {"operationId": id, "parameters": {"handle": handle}}
        for id, (path, _) in operations.items()
        if "{handle}" in path
    }
    for id, body in (
        *((id, {"token": token}) for id in ("introspectToken", "revokeToken")),
        (begin["operationId"], {"parent": handle}),
    ):
        links[id] = {"operationId": id, "requestBody": body}
    for id, (_, operation) in operations.items():
        for response in operation["responses"].values():
            if _answers(response) == "IssuedDocument":
                response["links"] = links
            elif page := PAGES.get(_answers(response)):
                following = {"operationId": id, "parameters": {page: "$response.body#/cursor"}}
                response["links"] = {"nextPage": following}


def _answers(response: dict[str, Any]) -> str:
    """The name of the document in a response."""
    schema = response.get("content", {}).get("application/json", {}).get("schema", {})
    return str(schema.get("$ref", "")).rpartition("/")[2]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter is left out, and never null."""
    told = [one for one in schema.get("oneOf", ()) if one != {"type": "null"}]
    if len(told) != 1:
        return schema
    rest = {name: value for name, value in schema.items() if name != "oneOf"}
    return {**rest, **told[0]}


def _problem(description: str) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema}}}


def _add_components(components: dict[str, Any]) -> None:
    # The framework leaves patterns out wherever null is allowed.
    declared = vars(schemas) | vars(history_schemas) | vars(webhook_schemas)
    documents = [declared[name] for name in components["schemas"]]
    _, components["schemas"] = msgspec.json.schema_components(
        (Problem, Introspection, *documents), ref_template="#/components/schemas/{name}"
    )
    components["securitySchemes"] = {
        name: {"type": "http", "scheme": "bearer", "description": told}
        for name, told in SCHEMES.items()
    } | {"client": CLIENT}


def _without_framework() -> dict[str, Any]:
    """What the framework does not answer, and so does not know."""
    introspection = {"$ref": "#/components/schemas/Introspection"}
    found = {"description": "What is known of it.", "content": _json(introspection)}
    return {
        "/introspect": {
            "post": _oauth("introspectToken", "Is a token good (RFC 7662)", {"200": found})
        },
        "/revoke": {
            "post": _oauth(
                "revokeToken",
                "End a token's session (RFC 7009)",
                {"200": {"description": "Whatever it was, it is not good any more."}},
            )
        },
        "/auth": {method: _auth(method) for method in METHODS},
    }


def _auth(method: str) -> dict[str, Any]:
    return {
        "operationId": f"forwardAuth{method.title()}",
        "summary": "May a request pass; any method, any path below",
        "security": [{"sessionToken": []}],
        "responses": {
            "200": {"description": "It may; the identity headers say whose it is."},
            "401": _problem("Not with these credentials."),
            "403": _problem("Not with this session, or not for this request."),
            "429": _problem(LIMITED) | LIMIT_HEADERS,
            "503": _problem("Nobody can tell now; `Retry-After` says when to ask again."),
        },
    }


def _oauth(id: str, summary: str, responses: dict[str, Any]) -> dict[str, Any]:
    error = {
        "type": "object",
        "properties": {"error": {"type": "string"}, "error_description": {"type": "string"}},
        "required": ["error"],
    }
    form = {
        "type": "object",
        "properties": {
            "token": {"type": "string", "minLength": 1},
            "token_type_hint": {"type": "string"},
            "client_id": {"type": "string", "description": "The name of an admin key."},
            "client_secret": {"type": "string", "description": "The key itself."},
        },
        "required": ["token"],
        "additionalProperties": {"type": "string"},
    }
    return {
        "operationId": id,
        "summary": summary,
        "security": [{"adminKey": []}, {"client": []}],
        "requestBody": {"required": True, "content": {FORM.decode(): {"schema": form}}},
        "responses": responses
        | {
            "429": {"description": LIMITED, "content": _json(error)} | LIMIT_HEADERS,
            "default": {"description": "An error of OAuth.", "content": _json(error)},
        },
    }


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
