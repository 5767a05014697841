"""Each action of the console by clicks in a real browser, and what another process then sees."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sessionledger import SessionStore
from sessionledger.testing.fixtures import until
from tests.chromium import Chromium, opened
from tests.console.running import Running
from tests.console.test_in_chromium import reached
from tests.console.test_screens import EVIL, FIREFOX, create, is_live_elsewhere

pytestmark = pytest.mark.middle
OPEN_ALL = "for (const one of document.querySelectorAll('details')) one.open = true; return null"


@pytest.fixture(scope="module")
def browser(running: Running, key: str) -> Iterator[Chromium]:
    with opened(FIREFOX, "1200,900") as browser:
        browser.open(running.url)
        browser.write("#key", key)
        browser.click("//button[. = 'Log in']")
        yield browser


def act(browser: Chromium, page: str, button: str, **fields: str) -> None:
    """Open the page and its folded forms, fill in the form of a button, and click that."""
    browser.open(page)
    browser.run(OPEN_ALL)
    form = f"//form[.//button[contains(., '{button}')]]"
    for name, text in fields.items():
        browser.write_at(f"({form}//*[@name='{name}'])[1]", text)
    browser.click(f"({form}//button[contains(., '{button}')])[1]")


def test_a_search_leads_to_a_session_which_is_ended(
    browser: Chromium, running: Running, store: SessionStore, folder: Path
) -> None:
    phone, laptop = create(store, "ada"), create(store, "ada")
    act(browser, f"{running.url}/sessions", "Search", principal="ada")
    browser.click(f"//a[contains(@href, '{phone.handle}')]")
    assert browser.url == f"{running.url}/sessions/{phone.handle}"
    act(browser, browser.url, "End this session", reason="lost phone")
    assert "The session is ended." in browser.text
    assert not is_live_elsewhere(folder, phone.handle)
    assert is_live_elsewhere(folder, laptop.handle)
    *_, end = store.history(handle=phone.handle)
    assert (end.actor, end.reason) == ("ops", "lost phone")


def test_others_and_then_all_of_a_principal_are_ended(
    browser: Chromium, running: Running, store: SessionStore, folder: Path
) -> None:
    old, kept = create(store, "bob").handle, create(store, "bob").handle
    page = f"{running.url}/principal?name=bob"
    act(browser, page, "End all but this one")
    assert not is_live_elsewhere(folder, old)
    assert is_live_elsewhere(folder, kept)
    act(browser, page, "End all sessions of this principal")
    assert not is_live_elsewhere(folder, kept)


def test_an_incident_is_counted_and_ended(
    browser: Chromium, running: Running, store: SessionStore, folder: Path
) -> None:
    context = {"address": "203.0.113.5"}
    made = [create(store, name, context=context).handle for name in ("cai", "dee")]
    act(browser, f"{running.url}/incident", "Count", address_in="203.0.113.0/24")
    until(lambda: reached(browser, running, "/incident", "Type 2 to end them"))
    act(browser, f"{running.url}/incident", "End 2 logins", typed="2", reason="breach")
    until(lambda: reached(browser, running, "/incident", "ended 2 logins"))
    assert not any(is_live_elsewhere(folder, handle) for handle in made)


def test_everybody_is_logged_out(
    browser: Chromium, running: Running, store: SessionStore, folder: Path
) -> None:
    made = create(store, "eli").handle
    act(browser, f"{running.url}/incident", "End every session of everybody", typed="everybody")
    assert "Every session is ended" in browser.text
    assert not is_live_elsewhere(folder, made)


def test_a_key_is_made_and_ended(browser: Chromium, running: Running) -> None:
    browser.open(f"{running.url}/keys")
    browser.run("document.querySelector('[value=\"sessions:read\"]').checked = true; return null")
    browser.write("#name", "clicked")
    browser.click("//button[. = 'Make the key']")
    made = browser.run("return document.getElementById('key').value")
    with opened(FIREFOX, "1200,900") as other:
        other.open(running.url)
        other.write("#key", made)
        other.click("//button[. = 'Log in']")
        assert "clicked" in other.text
        browser.open(f"{running.url}/keys")
        browser.run(OPEN_ALL)
        browser.click("//tr[contains(., 'clicked')]//button[contains(., 'End')]")
        other.open(f"{running.url}/sessions")
        assert other.url == f"{running.url}/login"


def test_a_webhook_is_added_tried_and_removed(browser: Chromium, running: Running) -> None:
    page = f"{running.url}/webhooks"
    act(browser, page, "Add", url="https://clicked.example/hook")
    assert re.fullmatch(r"whsec_.+", browser.run("return document.getElementById('secret').value"))
    act(browser, page, "Test")
    assert "Nothing was answered" in browser.text
    act(browser, page, "Remove")
    assert "clicked.example is removed" in browser.text


def test_no_script_of_an_attacker_runs(
    browser: Chromium, running: Running, store: SessionStore
) -> None:
    evil = store.create(
        EVIL, attributes={EVIL: EVIL}, context={"user_agent": EVIL, "address": EVIL}, reason=EVIL
    )
    for path in ("/", "/sessions", f"/sessions/{evil.handle}"):
        browser.open(running.url + path)
        assert "cracked" not in browser.run("return document.title")
        assert "cracked" in browser.run("return document.body.textContent")
    assert browser.complaints() == []
