"""The pages in a real browser: what axe-core finds, both schemes, a phone, and the live feed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from random import Random

import pytest

from sessionledger import SessionStore
from sessionledger.console.views import NAVIGATION
from sessionledger.server.service.keys import SCOPES
from sessionledger.testing.fixtures import until
from tests.chromium import Chromium, opened
from tests.console.running import Running
from tests.server.served import make_key
from tests.servers import once, program

DOCS = Path(__file__).parents[2] / "docs"
PICTURES = os.environ.get("SESSIONLEDGER_TESTS_CONSOLE_PICTURES")
"""Set where the pictures of the documentation are to be written: docs/console-*.png."""
AXE = "axe-core@4.14.1"
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 "
        "(KHTML, like Gecko) Version/18.1 Mobile/15E148 Safari/604.1"
    ),
    "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0",
)
PEOPLE = [f"{name}@example.com" for name in ("ada", "bo", "cai", "dee", "eli", "fay", "gus")]
PAGES = {
    "overview": "/",
    "sessions": "/sessions?state=all",
    "session": "/sessions/{handle}",
    "principal": "/principal?name=ada%40example.com",
    "incident": "/incident",
    "keys": "/keys",
    "webhooks": "/webhooks",
    "integrity": "/integrity",
    "time zone": "/preferences",
}
SHOWN = ("sessions", "session", "principal")

pytestmark = pytest.mark.middle


def fill(folder: Path) -> None:
    """A day in which people came and went."""
    chance, at = Random(22), [datetime.now(UTC) - timedelta(hours=23)]
    with SessionStore.open(f"sqlite:///{folder / 'sessions.db'}", clock=lambda: at[0]) as store:
        begun: list[str] = []
        for hour in range(23):
            for _ in range(4 + (hour * 5) % 11):
                at[0] += timedelta(minutes=4)
                address = f"192.0.2.{chance.randrange(1, 200)}"
                context = {"user_agent": chance.choice(AGENTS), "address": address}
                who = chance.choice(PEOPLE)
                issued = store.create(who, actor=who, reason="logged in", context=context)
                begun.append(issued.token)
                token = begun.pop(chance.randrange(len(begun)))
                ends: dict[int, Callable[[], object]] = {
                    0: partial(store.expire, token, actor=who, reason="logged out"),
                    1: partial(store.rotate, token, grace=timedelta(0)),
                    2: partial(store.expire, token),
                    3: partial(store.find, handle=issued.handle),
                    4: partial(
                        store.revoke, handle=issued.handle, actor="ops", reason="lost phone"
                    ),
                }
                ends[chance.randrange(len(ends))]()
            at[0] = datetime.now(UTC) - timedelta(hours=22 - hour)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("console")
    fill(folder)
    return folder


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    return make_key(folder, "ops", *SCOPES)


@pytest.fixture(scope="module")
def browser(running: Running, key: str) -> Iterator[Chromium]:
    """A browser whose user has logged in by the form."""
    with opened(AGENTS[2], "1200,900") as browser:
        browser.open(running.url)
        assert browser.url == f"{running.url}/login"
        assert found_by_axe(browser) == []
        browser.write("#key", key)
        browser.click("//button[. = 'Log in']")
        assert browser.url == f"{running.url}/"
        yield browser


def axe() -> str:
    """The script of axe-core, which npm installs outside of the repository."""

    def install() -> str:
        folder = Path(tempfile.gettempdir()) / f"sessionledger-tests-{AXE}"
        script = folder / "node_modules" / "axe-core" / "axe.min.js"
        if not script.exists():
            command = [program("npm"), "install", "--no-save", "--prefix", str(folder), AXE]
            subprocess.run(command, check=True, capture_output=True, timeout=120)
        return str(script)

    return Path(once("axe", install)).read_text()


def found_by_axe(browser: Chromium) -> list[str]:
    browser.run(axe() + "; return null")
    found = browser.run("return axe.run().then(told => told.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found]


def picture(browser: Chromium, name: str, width: int, height: int) -> None:
    """The picture of a page for the documentation, where one is wanted."""
    if PICTURES:
        browser.resize(width, height)
        browser.screenshot(DOCS / f"console-{name}.png")
        assert (DOCS / f"console-{name}.png").stat().st_size < 150_000


@pytest.fixture(scope="module")
def handle(folder: Path, running: Running) -> str:
    """A session of which much is known."""
    with SessionStore.open(f"sqlite:///{folder / 'sessions.db'}") as store:
        issued = store.create(
            PEOPLE[0],
            actor=PEOPLE[0],
            reason="logged in",
            attributes={"role": "operator", "mfa": True},
            context={"user_agent": AGENTS[0], "address": "192.0.2.7"},
        )
        store.patch(handle=issued.handle, changes={"mfa": False}, actor="ops", reason="key lost")
        store.create("agent", parent=issued.handle, attributes={"role": "operator"})
        return issued.handle


def test_every_page_of_the_navigation_is_tried() -> None:
    assert {path for path, _, _ in NAVIGATION} <= {path.split("?")[0] for path in PAGES.values()}


@pytest.mark.parametrize("name", PAGES)
def test_nobody_is_kept_from_a_page(
    browser: Chromium, running: Running, handle: str, name: str
) -> None:
    browser.resize(1200, 900)
    browser.open(running.url + PAGES[name].format(handle=handle))
    for scheme in ("dark", "light"):
        browser.prefer(scheme)
        assert found_by_axe(browser) == []
    if name in SHOWN:
        picture(browser, name, 1200, 640)
    browser.resize(360, 740)
    assert browser.run("return document.documentElement.scrollWidth") == 360
    assert found_by_axe(browser) == []
    assert browser.complaints() == []


def test_an_incident_is_counted_before_it_is_ended(
    browser: Chromium, running: Running, handle: str
) -> None:
    browser.resize(1200, 900)
    browser.prefer("light")
    browser.open(f"{running.url}/incident")
    browser.write("[name=address_in]", "192.0.2.0/24")
    browser.click("//button[starts-with(., 'Count')]")
    until(lambda: reached(browser, running, "/incident", "192.0.2.7"))
    assert found_by_axe(browser) == []
    picture(browser, "incident", 1200, 700)


def test_the_overview_goes_on_by_itself(browser: Chromium, running: Running, folder: Path) -> None:
    browser.resize(1200, 1100)
    browser.prefer("light")
    browser.open(running.url)
    until(lambda: "Live" in browser.text)
    with SessionStore.open(f"sqlite:///{folder / 'sessions.db'}") as store:
        issued = store.create("<b>zoe</b>", reason="came by")
        until(lambda: "<b>zoe</b>" in browser.text)
        browser.run("document.querySelector('#feed button').click()")
        store.revoke(handle=issued.handle, reason="went away")
        until(lambda: "1 waiting" in browser.text)
        assert "went away" not in browser.text
        browser.run("document.querySelector('#feed button').click()")
        until(lambda: "went away" in browser.text)
    assert browser.complaints() == []


def test_a_verification_is_begun_by_a_click(browser: Chromium, running: Running) -> None:
    browser.resize(1200, 900)
    browser.prefer("light")
    browser.open(f"{running.url}/integrity")
    browser.click("//button[. = 'Examine']")
    until(lambda: reached(browser, running, "/integrity", "Nothing was found"))
    browser.click("//button[. = 'Verify']")
    until(lambda: reached(browser, running, "/integrity", "is as it was written"))
    picture(browser, "integrity", 1200, 720)
    browser.open(running.url)
    picture(browser, "overview", 1200, 1040)
    browser.prefer("dark")
    picture(browser, "overview-dark", 1200, 1040)
    browser.resize(360, 740)


def reached(browser: Chromium, running: Running, path: str, told: str) -> bool:
    """Whether a page tells something by now."""
    browser.open(running.url + path)
    return told in browser.text


def test_the_keyboard_reaches_the_content_first(browser: Chromium, running: Running) -> None:
    browser.resize(1200, 900)
    browser.open(running.url)
    browser.write("body", "\ue004")
    assert browser.run("return document.activeElement.textContent") == "Skip to the content"
    assert browser.run("return document.activeElement.getBoundingClientRect().left >= 0")
    assert browser.style(".skip", "outline-style") == "solid"
