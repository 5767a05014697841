"""The OpenAPI document, and what schemathesis finds when it takes the service at its word."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sessionledger.server.app import ROUTES
from sessionledger.server.http.parameters import CURSOR_PATTERN, HANDLE_PATTERN, NAME_PATTERN
from tests.server.served import Served, make_key
from tests.server.web import Web

# What fits the schema and is refused for what no schema can say: an end in the past, say.
CHECKS = """
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "401", "403", "404", "409", "412", "422", "429"]
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "409", "413", "415", "422", "429", "431"]

# RFC 6749, sections 2.3 and 3.1: two secrets, or a parameter sent twice, are answered by 400.
[[operations]]
include-path-regex = "^/(introspect|revoke)$"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "412", "422", "429"]

# Without QUERY: /auth takes any method, and OpenAPI 3.1 has no word for that one.
[phases.coverage]
unexpected-methods = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE"]
"""


def test_the_document_is_complete(web: Web) -> None:
    document = web("GET", "/openapi.json", token="").json()
    assert document["openapi"].startswith("3.1")
    for route in ROUTES:
        for path in route.paths:
            operations = document["paths"][path.replace(":str", "")]
            for method in {*route.http_methods} - {"OPTIONS"}:
                operation = operations[method.lower()]
                assert operation["summary"]
                assert ("security" in operation) == (route.opt["permission"] != "public")
    assert {"/auth", "/introspect", "/revoke"} <= set(document["paths"])


def test_what_a_new_session_can_be_used_for_is_linked(web: Web) -> None:
    paths = web("GET", "/openapi.json", token="").json()["paths"]
    links = paths["/v1/sessions"]["post"]["responses"]["201"]["links"]
    known = {one["operationId"] for path in paths.values() for one in path.values()}
    assert {link["operationId"] for link in links.values()} <= known
    by_handle = [path for path in paths if "{handle}" in path]
    assert len(links) == sum(len(paths[path]) for path in by_handle) + 3
    rotated = paths["/v1/sessions/{handle}/rotate"]["post"]["responses"]["200"]
    assert rotated["links"] == links
    for path in ("/v1/sessions", "/v1/history/{handle}"):
        assert "nextPage" in paths[path]["get"]["responses"]["200"]["links"]


def test_texts_that_have_a_form_have_a_pattern(web: Web) -> None:
    document = web("GET", "/openapi.json", token="").json()
    found: dict[str, set[str]] = {}
    for name, schema in document["components"]["schemas"].items():
        for member, told in schema.get("properties", {}).items():
            for one in (told, told.get("items", {}), *told.get("anyOf", [])):
                found.setdefault(f"{name}.{member}", set()).update({one.get("pattern")} - {None})
    for path in document["paths"].values():
        for operation in path.values():
            for one in operation.get("parameters", ()):
                schema = one["schema"].get("items", one["schema"])
                found.setdefault(one["name"], set()).update({schema.get("pattern")} - {None})
    handles = ("SessionDocument.handle", "EntryDocument.handle", "Introspection.jti", "handle")
    for name in (*handles, "SessionDocument.successors", "IssuedDocument.parent", "keep"):
        assert found[name] == {HANDLE_PATTERN}, name
    for name in ("NewSession.principal", "NewSession.external_id", "NewToken.principal"):
        assert found[name] == {NAME_PATTERN}, name
    assert found["cursor"] == found["SessionPage.cursor"] == {CURSOR_PATTERN}
    (token,), (topic,) = found["IssuedDocument.token"], found["StatsDocument.topic"]
    assert re.search(token, web.create()["token"])
    assert re.search(topic, web("GET", "/v1/stats").json()["topic"])


@pytest.mark.parametrize(
    ("name", "fits"),
    [
        *((name, True) for name in ("alice", " a b\n", "é", "\x85\t名\u3000", "a" * 512)),
        *((name, False) for name in (" ", "\n\u2003", "\x00", "a\tb", "a\x7f", "\x85", "a\x80b")),
    ],
)
def test_the_pattern_of_a_name_is_what_the_library_takes(web: Web, name: str, fits: bool) -> None:
    assert (re.search(NAME_PATTERN, name) is not None) is fits
    answer = web("POST", "/v1/sessions", json={"principal": name})
    assert answer.status_code == (201 if fits else 422)


@pytest.mark.parametrize(
    ("phases", "examples"),
    [
        ("fuzzing,stateful", 2),
        pytest.param("stateful", 30, marks=pytest.mark.middle),
        pytest.param("examples,coverage,fuzzing,stateful", 60, marks=pytest.mark.slow),
    ],
)
def test_schemathesis_finds_nothing(tmp_path: Path, phases: str, examples: int) -> None:
    """All checks, on a ledger of its own, streams of events included, which end soon."""
    key = make_key(tmp_path, "root")
    (tmp_path / "schemathesis.toml").write_text(CHECKS)
    options = ["--no-access-log", "--writes-per-minute", "100000", "--stream-lifetime", "1s"]
    with Served(tmp_path, *options) as served:
        done = subprocess.run(
            [
                *(str(Path(sys.executable).with_name("st")), "run", f"{served.url}/openapi.json"),
                *("--checks", "all", "--phases", phases, "--max-examples", str(examples)),
                *("--no-color", "--workers", "1"),
            ],
            cwd=tmp_path,
            env=os.environ
            | {
                "KEY": key,
                "SERVICE": served.url,
                "SCHEMATHESIS_HOOKS": "tests.server.hooks",
                "PYTHONPATH": str(Path(__file__).parents[2]),
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=1200,
        )
        assert served.call("GET", "/readyz").status_code == 200
    assert done.returncode == 0, done.stdout + done.stderr
    if "stateful" in phases and examples > 2:
        assert " 0 covered" not in done.stdout, "it goes on with sessions that it created"
