"""Requests with logout tokens: which end sessions, and which end nobody's."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sessionledger import AsyncSessionStore, SessionStore, open_log
from sessionledger.integrations.sync import receive_logout
from sessionledger.testing import Clock
from sessionledger.web.backchannel import keys
from sessionledger.web.backchannel.logout_token import EVENT
from sessionledger.web.backchannel.receiver import FORM, LogoutApplication, LogoutReceiver
from tests.web.backchannel import providing
from tests.web.backchannel.providing import (
    LEFT_OUT,
    NOT_IN_A_FORM,
    WRONG,
    WRONG_FORMS,
    form,
    logout_token,
    signed,
)
from tests.web.backchannel.publishing import Publisher

USED, UNKNOWN = "it was used before", "no session is known by what it names"


class Application:
    """An application with one user, who is logged in by the provider's session `s`."""

    def __init__(self, receiver: LogoutReceiver) -> None:
        self.receiver = receiver
        self.store = SessionStore.open("memory:")
        self.alice = self.log_in("alice", "s")
        self.bob = self.log_in("bob", "t")

    def log_in(self, principal: str, sid: str) -> str:
        return self.store.create(principal, external_id=sid).token

    def __call__(self, token: str) -> str | None:
        """Why a token was refused; None if it was not."""
        return self.send(FORM, form(token))

    def send(self, kind: str | None, body: bytes) -> str | None:
        status, headers, told = receive_logout(self.receiver, self.store, kind, body)
        assert headers["Cache-Control"] == "no-store"
        if status == 200:
            assert told == b""
            return None
        assert (status, headers["Content-Type"]) == (400, "application/json")
        error: dict[str, str] = json.loads(told)
        assert error["error"] in ("invalid_request", "temporarily_unavailable")
        return error.get("error_description", error["error"])

    @property
    def live(self) -> set[str]:
        return {session.principal for session in self.store.sessions()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("provider")


@pytest.fixture
def application(folder: Path) -> Iterator[Application]:
    application = Application(LogoutReceiver(providing.provider(folder)))
    with application.store:
        yield application


def test_the_table_has_forty_ways_at_least() -> None:
    assert len(WRONG) >= 40


@pytest.mark.parametrize("case", WRONG)
def test_a_token_that_is_wrong_ends_nobody(application: Application, case: str) -> None:
    make, reason = WRONG[case]
    assert application(make()) == reason
    assert application.live == {"alice", "bob"}
    assert application(logout_token()) is None
    assert application.live == {"bob"}


@pytest.mark.parametrize("case", WRONG_FORMS)
def test_a_form_that_is_wrong_ends_nobody(application: Application, case: str) -> None:
    kind, make = WRONG_FORMS[case]
    assert application.send(kind, make()) == NOT_IN_A_FORM
    assert application.live == {"alice", "bob"}


RIGHT: dict[str, Any] = {
    "a subject": {},
    "a list of one audience": {"aud": [providing.CLIENT]},
    "a fraction of a second": {"iat": lambda now: now + 0.5},
    "issued a moment ahead": {"iat": lambda now: now + 45},
    "issued within ten minutes": {"iat": lambda now: now - 640},
    "expired a moment ago": {"exp": lambda now: now - 45},
    "valid in a moment": {"nbf": lambda now: now + 45},
    "other claims": {"auth_time": "x", "azp": 1, "trace": None},
    "other events": {"events": {EVENT: {"more": 1}, "other": None}},
    "the longest subject": {"sub": "alice", "sid": "s" * 200},
}


@pytest.mark.parametrize("case", RIGHT)
def test_a_token_that_is_right_ends_the_session(folder: Path, case: str) -> None:
    provider = providing.provider(folder, external_id=None)
    application = Application(LogoutReceiver(provider))
    with application.store:
        assert application(logout_token(**RIGHT[case])) is None
        assert application.live == {"bob"}


@pytest.mark.parametrize(
    ("kid", "kind", "algorithm"),
    [
        *(("rsa", "RSA", one) for one in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")),
        *(("ec", "EC", "ES256"), ("ed", "OKP", "Ed25519")),
    ],
)
def test_every_algorithm_that_can_be_allowed_is_taken(
    folder: Path, kid: str, kind: str, algorithm: str
) -> None:
    application = Application(LogoutReceiver(providing.provider(folder, algorithms=(algorithm,))))
    token = signed(told=providing.header(alg=algorithm, kid=kid), by=providing.all_keys()[kid])
    with application.store:
        assert application(token) is None
        assert application(logout_token()) in (
            {None} if algorithm == "RS256" else {providing.ALGORITHM}
        )


@pytest.mark.parametrize(
    "typ", ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt", "JWT", LEFT_OUT]
)
def test_a_type_may_be_left_out_unless_it_is_asked_for(folder: Path, typ: Any) -> None:
    for explicit in (False, True):
        receiver = LogoutReceiver(providing.provider(folder, explicit_type=explicit))
        application = Application(receiver)
        with application.store:
            is_general = typ in ("JWT", LEFT_OUT)
            refused = providing.TYPE if explicit and is_general else None
            assert application(signed(told=providing.header(typ=typ))) == refused


def test_a_sid_ends_the_sessions_of_that_external_id_alone(application: Application) -> None:
    application.log_in("alice", "u")
    assert application(logout_token(sid="s")) is None
    assert application.store.get(application.alice) is None
    assert application.live == {"alice", "bob"}
    assert application(logout_token(sid="u", sub=LEFT_OUT)) is None
    assert application.live == {"bob"}


def test_a_subject_ends_all_sessions_of_its_principal(application: Application) -> None:
    application.log_in("alice", "u")
    assert application(logout_token()) is None
    assert application.live == {"bob"}


def test_the_history_says_who_ended_it_and_why(application: Application) -> None:
    assert application(logout_token(sid="s")) is None
    last = [*application.store.history(principal="alice")][-1]
    assert (last.kind, last.reason, last.actor) == (
        *("session_expired", "back-channel logout"),
        providing.ISSUER,
    )


def test_somebody_who_is_not_logged_in_is_logged_out(application: Application) -> None:
    assert application(logout_token(sub="carol")) is None
    assert application(logout_token(sid="unknown")) is None
    assert application.live == {"alice", "bob"}


def test_names_are_made_as_the_provider_is_told(folder: Path) -> None:
    told = {"external_id": "https://id.test {sid}", "principal": "users/{sub}"}
    application = Application(LogoutReceiver(providing.provider(folder, **told)))
    with application.store:
        application.log_in("users/alice", "https://id.test s")
        assert application(logout_token(sub="{sid}", sid="s")) is None
        assert application.live == {"alice", "bob"}
        application.log_in("users/alice", "x")
        assert application(logout_token()) is None
        assert application.live == {"alice", "bob"}


def test_the_application_may_say_whose_principal_a_subject_is(folder: Path) -> None:
    async def looked_up(subject: str) -> str | None:
        return {"1": "alice"}.get(subject)

    for principal_of in ({"1": "alice"}.get, looked_up):
        receiver = LogoutReceiver(providing.provider(folder), principal_of)
        application = Application(receiver)
        with application.store:
            assert application(logout_token(sub="2")) is None
            assert application.live == {"alice", "bob"}
            assert application(logout_token(sub="1")) is None
            assert application.live == {"bob"}


@pytest.mark.parametrize(
    ("told", "claims"),
    [
        ({"principal": None}, {}),
        ({"external_id": None}, {"sub": LEFT_OUT, "sid": "s"}),
        ({"principal": None, "external_id": None}, {"sid": "s"}),
    ],
    ids=str,
)
def test_what_nothing_is_known_by_is_refused(
    folder: Path, told: dict[str, Any], claims: dict[str, Any]
) -> None:
    application = Application(LogoutReceiver(providing.provider(folder, **told)))
    with application.store:
        assert application(logout_token(**claims)) == UNKNOWN
        assert application.live == {"alice", "bob"}


def test_a_token_is_good_once(application: Application) -> None:
    token = logout_token()
    assert application(token) is None
    application.log_in("alice", "u")
    assert application(token) == USED
    assert application.live == {"alice", "bob"}
    same_name = logout_token(jti="one"), logout_token(jti="one", sid="u")
    assert [application(token) for token in same_name] == [None, USED]


def test_a_record_is_none_of_the_sessions(application: Application) -> None:
    assert application(logout_token()) is None
    assert application.store.count(state="all") == 2
    records = [*application.store.on_topic("sessionledger.replays").sessions()]
    assert [record.generated for record in records] == [True]


def test_records_do_not_pile_up(folder: Path, tmp_path: Path) -> None:
    clock, url = Clock(), f"sqlite:///{tmp_path / 'sessions.db'}"
    application = Application(LogoutReceiver(providing.provider(folder)))
    application.store.close()
    with SessionStore.open(url, clock=clock) as application.store:
        assert [application(logout_token()) for _ in range(3)] == [None] * 3
        records = application.store.on_topic("sessionledger.replays")
        clock.now += timedelta(minutes=13)
        assert (records.count(), records.count(state="all")) == (0, 3)
        clock.now += timedelta(days=3)
        application.store.maintain(retention=timedelta(days=2))  # sweeps
        clock.now += timedelta(days=3)
        application.store.maintain(retention=timedelta(days=2))
        assert records.count(state="all") == 0


def test_a_logout_that_failed_may_be_sent_again(
    application: Application,
) -> None:
    token, store, away = logout_token(), application.store, open_log("memory:")
    application.store = SessionStore(away)
    away.close()
    assert application(token) == "temporarily_unavailable"
    application.store = store
    assert application(token) is None
    assert application.live == {"bob"}


def test_without_keys_a_logout_fails_and_may_be_sent_again(folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "jwks.json"
    application = Application(LogoutReceiver(providing.provider(folder, jwks=str(place))))
    token = logout_token()
    with application.store:
        assert application(token) == "temporarily_unavailable"
        place.write_bytes(providing.jwks())
        assert application(token) is None
        assert application.live == {"bob"}


def test_a_new_key_is_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "ASK_AGAIN_SECONDS", 0)
    new = providing.key("new")
    with Publisher().running() as publisher:
        publisher.document = providing.jwks()
        told = {"jwks": publisher.url(), "networks": ("127.0.0.0/8",)}
        application = Application(LogoutReceiver(providing.provider(folder, **told)))
        with application.store:
            assert application(logout_token(sub="carol")) is None
            publisher.document = providing.jwks(new)
            assert application(signed(told=providing.header(kid="new"), by=new)) is None
            assert application.live == {"bob"}
            assert application(logout_token(sub="bob")) == providing.NO_KEY


def test_a_body_without_an_end_is_not_read_to_its_end(application: Application) -> None:
    """Nor is one that came by another method."""
    got, sent = list[str](), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        got.append("part")
        return {"type": "http.request", "body": b"a" * 10_000, "more_body": True}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    store = cast(AsyncSessionStore, application.store)  # of which nothing is asked
    for method, parts in (("POST", 4), ("GET", 0)):
        got.clear()
        scope = {"type": "http", "method": method, "headers": [(b"content-type", FORM.encode())]}
        asyncio.run(LogoutApplication(application.receiver, lambda: store)(scope, receive, send))
        assert len(got) == parts
    assert [message["status"] for message in sent if "status" in message] == [400, 400]


def test_of_many_that_arrive_at_once_one_is_carried_out(application: Application) -> None:
    token, answers = logout_token(), list[str | None]()
    threads = [
        threading.Thread(target=lambda: answers.append(application(token))) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers, key=str) == [None, *[USED] * 7]


def test_every_refusal_is_logged_and_no_token_is(
    application: Application, caplog: pytest.LogCaptureFixture
) -> None:
    sent = [make() for make, _ in WRONG.values()]
    with caplog.at_level(logging.DEBUG):
        refused = [application(token) for token in sent]
    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == refused
    assert {record.name for record in caplog.records} == {"sessionledger.backchannel"}
    for token in sent:
        parts = [part for part in token.split(".") if len(part) > 20]
        assert not any(part in caplog.text for part in parts)


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=8), children, max_size=2)
    ),
    max_leaves=4,
)
NAMES = ["iss", "aud", "iat", "exp", "jti", "events", "sub", "sid", "nbf", "nonce"]


@given(st.dictionaries(st.sampled_from(NAMES), ANY_JSON, min_size=1, max_size=3))
def test_no_claims_make_it_fail(folder: Path, changed: dict[str, Any]) -> None:
    """Whatever the provider signs, it is carried out or refused; refused, it ends nobody."""
    application = Application(LogoutReceiver(providing.provider(folder)))
    with application.store:
        refused = application(signed(providing.claims(**changed)))
        assert refused is None or application.live == {"alice", "bob"}


@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=60))
def test_no_parts_make_it_fail(folder: Path, head: bytes, payload: bytes, signature: bytes) -> None:
    application = Application(LogoutReceiver(providing.provider(folder)))
    with application.store:
        assert application(providing.by_hand(head, payload, signature)) is not None
        assert application(head.hex() + "." + payload.hex()) is not None
        assert application.live == {"alice", "bob"}


@given(st.integers(min_value=0), st.integers(0, 5))
def test_no_bit_of_a_token_can_be_changed(folder: Path, place: int, bit: int) -> None:
    """Each bit that base64url has of it counts."""
    application = Application(LogoutReceiver(providing.provider(folder)))
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    with application.store:
        token = logout_token()
        at = place % len(token)
        if token[at] != ".":
            other = digits[digits.index(token[at]) ^ (1 << bit)]
            assert application(token[:at] + other + token[at + 1 :]) is not None
        assert application.live == {"alice", "bob"}


@pytest.mark.parametrize(
    "told",
    [
        *({"algorithms": one} for one in ((), ("none",), ("HS256",), ("RS256", "none"))),
        *({"networks": one} for one in (("10.0.0.1/8",), ("localhost",))),
        *({"external_id": "sid"}, {"principal": "{sid}"}),
    ],
    ids=str,
)
def test_settings_that_make_no_sense_are_refused(folder: Path, told: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        LogoutReceiver(providing.provider(folder, **told))


SERVE = (
    "from sessionledger.cli.main import run; sys.argv[1:] = ['serve', '--backchannel', 'x']; run()"
)
WITHOUT = "import sys; sys.modules['joserfc'] = None; "


@pytest.mark.parametrize(
    ("program", "code", "told"),
    [
        ("import sessionledger.web.backchannel", 1, "ImportError: this takes pip install"),
        ("from sessionledger.integrations import flask, django, starlette, litestar", 0, ""),
        ("from sessionledger.server import Settings, create_app; create_app(Settings())", 0, ""),
        (SERVE, 2, "pip install 'sessionledger[backchannel]'"),
    ],
)
def test_only_this_takes_the_extra(program: str, code: int, told: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT + program]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, told in ran.stderr) == (code, True), ran.stderr
