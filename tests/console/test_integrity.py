"""Integrity: what a verification finds, and what it is compared with; and the overview."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from sessionledger import SessionStore
from sessionledger.console.app import MAX_STREAMS
from sessionledger.server.service.keys import SCOPES
from sessionledger.testing.fixtures import until
from tests.console.running import Running, Visitor
from tests.server.served import make_key


def verify(visitor: Visitor, **form: str) -> str:
    """The page once a verification has ended."""
    answer = visitor.post("/integrity/verify", csrf=visitor.csrf(), **form)
    assert (answer.status_code, answer.headers["location"]) == (303, "/integrity")
    until(lambda: 'aria-label="Under way"' not in visitor.get("/integrity").text)
    return visitor.get("/integrity").text


def test_a_whole_chain_is_said_to_be_whole(visitor: Visitor, store: SessionStore) -> None:
    store.create("alice")
    head = store.head()
    page = verify(visitor)
    assert f"Every event up to {head.id} is as it was written." in page
    assert f'value="{head}"' in page
    assert f"up to event {head.id}" in visitor.get("/").text
    assert "is as it was written" in verify(visitor, expect=str(head))


def test_a_head_that_the_log_never_had_is_told(visitor: Visitor, store: SessionStore) -> None:
    head = store.head()
    page = verify(visitor, expect=f"{head.topic}:{head.id + 5}:sha256:{'0' * 64}")
    assert "the log was cut short" in page


def test_what_is_no_head_is_refused_and_replaces_no_result(visitor: Visitor) -> None:
    before = visitor.get("/integrity").text.partition("Verify the chain")[2][:400]
    answer = visitor.post("/integrity/verify", csrf=visitor.csrf(), expect="rubbish")
    assert answer.status_code == 400
    assert "topic:id:hash" in answer.text
    assert visitor.get("/integrity").text.partition("Verify the chain")[2][:400] == before


def test_an_examination_tells_what_the_doctor_finds(visitor: Visitor) -> None:
    visitor.post("/integrity/examine", csrf=visitor.csrf())
    until(lambda: 'aria-label="Under way"' not in visitor.get("/integrity").text)
    assert "Nothing was found." in visitor.get("/integrity").text


def test_anybody_s_text_is_shown_as_text(visitor: Visitor, store: SessionStore) -> None:
    evil = '<script>alert(1)</script>\u202e"'
    store.create("mallory", actor=evil, reason="<img src=x>" * 90)
    page = visitor.get("/").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\ufffd&#34;" in page
    assert "<script>alert" not in page
    assert "<img src=x" not in page


@pytest.mark.middle
def test_the_feed_tells_what_other_processes_do(
    running: Running, visitor: Visitor, store: SessionStore
) -> None:
    headers = {"Cookie": visitor.cookie}
    with (
        httpx.Client(base_url=running.url, timeout=30) as client,
        client.stream("GET", "/feed", headers=headers) as answer,
    ):
        lines = answer.iter_lines()
        assert next(lines) == "retry: 2000"
        store.create("bob", reason="\u202egnp")
        told = json.loads(next(one for one in lines if one.startswith("data: "))[6:])
        assert (told["principal"], told["reason"]) == ("bob", "\ufffdgnp")
        visitor.post("/logout", csrf=visitor.csrf())
        assert "data: " not in "".join(lines), "it ends with the log in"


def test_a_feed_goes_on_where_the_page_or_the_one_before_ended(
    running: Running, visitor: Visitor, store: SessionStore
) -> None:
    before = store.head().id
    for name in ("one", "two"):
        store.create(name)
    for path, more, first in (
        (f"/feed?after={before}", {}, "one"),
        ("/feed", {"Last-Event-ID": str(before + 1)}, "two"),
    ):
        with (
            httpx.Client(base_url=running.url, timeout=30) as client,
            client.stream("GET", path, headers={"Cookie": visitor.cookie} | more) as answer,
        ):
            told = next(one for one in answer.iter_lines() if one.startswith("data: "))
            assert json.loads(told[6:])["principal"] == first


def test_so_many_feeds_are_open_at_most(running: Running, visitor: Visitor) -> None:
    headers = {"Cookie": visitor.cookie}
    with ExitStack() as stack:
        client = stack.enter_context(httpx.Client(base_url=running.url, timeout=30))
        for _ in range(MAX_STREAMS):
            stack.enter_context(client.stream("GET", "/feed", headers=headers))
        assert visitor.get("/feed").status_code == 503
    with httpx.Client(base_url=running.url, timeout=30) as client:

        def is_open() -> bool:
            with client.stream("GET", "/feed", headers=headers) as answer:
                return answer.status_code == 200

        until(is_open)


@pytest.mark.middle
def test_a_damaged_chain_is_told_with_the_first_event(tmp_path: Path) -> None:
    key = make_key(tmp_path, "ops", *SCOPES)
    ledger = tmp_path / "sessions.db"
    with SessionStore.open(f"sqlite:///{ledger}") as store:
        store.create("alice")
    change = "import apsw, sys; apsw.Connection(sys.argv[1]).execute(sys.argv[2])"
    damage = "UPDATE events SET occurred_at_ms = 1 WHERE topic = 'orchestrator.sessions'"
    subprocess.run([sys.executable, "-c", change, str(ledger), damage], check=True)
    running = Running(tmp_path)
    try:
        visitor = Visitor(running.url)
        visitor.log_in(key)
        page = verify(visitor)
        assert "Event 1:" in page
        assert "broken" in visitor.get("/").text
        visitor.post("/integrity/examine", csrf=visitor.csrf())
        until(lambda: 'aria-label="Under way"' not in visitor.get("/integrity").text)
        assert '<span class="badge problem">problem</span>' in visitor.get("/integrity").text
        assert "found." in visitor.get("/").text
    finally:
        running.stop()
