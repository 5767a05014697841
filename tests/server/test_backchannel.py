"""/backchannel-logout of a real service: two workers, a provider's file, and real requests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sessionledger import SessionStore
from tests.cli.running import Line
from tests.server.served import Served
from tests.web.backchannel import providing
from tests.web.backchannel.providing import WRONG, form, logout_token

PATH = "/backchannel-logout"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SOME = (
    *("no token", "the algorithm none", "HMAC by the public key", "another key by the same name"),
    *("claims that were changed", "a nonce", "another audience", "issued long ago", "expired"),
)


def settings_in(folder: Path, **told: object) -> Path:
    keys = folder / "jwks.json"
    keys.write_bytes(providing.jwks())
    settings = {"issuer": providing.ISSUER, "audiences": [providing.CLIENT], "jwks": str(keys)}
    place = folder / "provider.json"
    place.write_text(json.dumps(settings | {"principal": "{sub}"} | told))
    return place


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backchannel")


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[Served]:
    options = ("--backchannel", str(settings_in(folder)), "--workers", "2", "--ledger", "s.db")
    with Served(folder, *options) as service:
        yield service


@pytest.fixture
def store(service: Served, folder: Path) -> Iterator[SessionStore]:
    with SessionStore.open(f"sqlite:///{folder}/s.db") as store:
        store.revoke_all("alice")
        yield store


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def send(service: Served, token: str) -> httpx.Response:
    """Over a connection of its own, which any worker may accept."""
    with httpx.Client(base_url=service.url) as client:
        return client.post(PATH, content=form(token), headers=FORM)


def test_a_provider_logs_somebody_out(service: Served, store: SessionStore) -> None:
    issued = store.create("alice", external_id="s")
    answer = send(service, logout_token(sid="s"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["cache-control"] == "no-store"
    assert store.get(issued.token) is None


@pytest.mark.parametrize("case", SOME)
def test_a_token_that_is_wrong_ends_nobody(service: Served, store: SessionStore, case: str) -> None:
    issued, (make, reason) = store.create("alice"), WRONG[case]
    answer = send(service, make())
    assert answer.status_code == 400
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json() == {"error": "invalid_request", "error_description": reason}
    assert store.get(issued.token) is not None


def test_a_token_is_good_once_for_all_workers(service: Served, store: SessionStore) -> None:
    token = logout_token()
    store.create("alice")
    assert [send(service, token).status_code for _ in range(6)] == [200, *[400] * 5]


def test_only_a_form_that_is_posted_is_taken(service: Served, store: SessionStore) -> None:
    issued = store.create("alice")
    for method in ("GET", "PUT", "DELETE"):
        answer = service.client.request(method, PATH, content=form(logout_token()), headers=FORM)
        assert answer.status_code == 400
    assert service.client.post(PATH, json={"logout_token": logout_token()}).status_code == 400
    assert service.client.post(f"{PATH}?{form(logout_token()).decode()}").status_code == 400
    assert service.client.post(PATH, content=b"a" * 40_000, headers=FORM).status_code == 400
    assert store.get(issued.token) is not None


def test_refusals_are_counted_and_logged_without_the_token(service: Served) -> None:
    token = logout_token(nonce="n")
    assert send(service, token).status_code == 400
    counts = service.client.get("/metrics").text
    assert f'sessionledger_http_requests_total{{route="{PATH}",status="400"}}' in counts
    told = ""
    while "it has a nonce" not in told:
        told = service.line()
    assert not any(part in "".join(service.told) for part in token.split("."))


def test_without_a_provider_there_is_no_such_path(tmp_path: Path) -> None:
    with Served(tmp_path, "--no-access-log") as service:
        assert send(service, logout_token()).status_code == 404


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"algorithms": ["none"]}, "algorithms must be of"),
        ({"issuer": 1}, "Expected `str`, got `int` - at `$.issuer`"),
        ({"audience": "app"}, "unknown field `audience`"),
        ({"networks": ["10.0.0.1/8"]}, "has host bits set"),
        ({"principal": "all"}, "principal {sub}"),
    ],
    ids=str,
)
def test_a_provider_that_makes_no_sense_is_refused(
    line: Line, told: dict[str, object], problem: str
) -> None:
    answer = line("serve", "--backchannel", str(settings_in(line.folder, **told)))
    assert (answer.code, answer.out) == (2, "")
    assert problem in answer.err
    assert "backchannel" in answer.err


def test_a_provider_that_is_not_there_is_said(line: Line) -> None:
    answer = line("serve", "--backchannel", "nowhere.json")
    assert (answer.code, answer.out) == (4, "")
    assert "nowhere.json" in answer.err
