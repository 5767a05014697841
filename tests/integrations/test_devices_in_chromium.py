"""“Where you are signed in”, in two real browsers, in each framework on a real server."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.chromium import Chromium, opened
from tests.integrations.processes import served
from tests.integrations.test_devices import FIREFOX, SAFARI

APPS = "tests.integrations.apps"
# Chromium connects before it has anything to ask, which keeps a process with one thread busy.
SERVERS = {
    "flask": ("gunicorn", f"{APPS}.flask_app:served()", "--threads", "8"),
    "django": ("gunicorn", f"{APPS}.django_app:served()", "--threads", "8"),
    "starlette": ("uvicorn", f"{APPS}.starlette_app:served", "--factory"),
    "fastapi": ("uvicorn", f"{APPS}.fastapi_app:served", "--factory"),
    "litestar": ("uvicorn", f"{APPS}.litestar_app:served", "--factory"),
}
LOG_IN = "return fetch('/login?principal=alice', {method: 'POST'}).then(answer => answer.text())"
OF_PHONE = "//section[contains(., 'Safari')]"
SCREENSHOT = os.environ.get("SESSIONLEDGER_TESTS_SCREENSHOT")
"""Where the picture of the documentation is to be written: docs/devices.png."""


def log_in(browser: Chromium, site: str) -> None:
    browser.open(f"{site}/open")
    assert browser.run(LOG_IN) == "alice"


@pytest.mark.middle
@pytest.mark.parametrize("framework", SERVERS)
def test_a_user_sees_both_devices_and_ends_one_from_the_other(
    framework: str, tmp_path: Path
) -> None:
    server, app, *options = SERVERS[framework]
    with (
        served(server, app, tmp_path, *options) as client,
        opened(SAFARI) as phone,
        opened(FIREFOX) as laptop,
    ):
        site = str(client.base_url)
        page = f"{site}/account/sessions"
        log_in(phone, site)
        log_in(laptop, site)
        phone.open(page)
        laptop.open(page)
        assert "Mobile Safari on iOS (iPhone)" in laptop.text
        assert "Firefox on Windows\nThis device" in laptop.text.replace(" This", "\nThis")
        check_style(laptop, tmp_path / "page.png")

        laptop.click(f"{OF_PHONE}//button")
        assert laptop.url == page
        assert "Safari" not in laptop.text
        phone.click("//button[. = 'Sign out all other devices']")
        assert is_refused(phone.text)
        phone.open(f"{site}/current")
        assert phone.text == "nobody"
        laptop.open(page)
        assert "Firefox on Windows" in laptop.text, "the click ended nothing"

        laptop.click("//button[. = 'Sign out everywhere']")
        assert (laptop.url, laptop.text) == (f"{site}/current", "nobody")


def is_refused(text: str) -> bool:
    return "the token is not good" in text


def check_style(browser: Chromium, picture: Path) -> None:
    """Its style sheet passes its own policy, in both schemes."""
    assert browser.style("section", "border-top-left-radius") == "8px"
    grounds = set()
    for scheme in ("dark", "light"):
        browser.prefer(scheme)
        grounds.add(browser.style("body", "background-color"))
    assert grounds == {"rgba(24, 24, 27, 1)", "rgba(255, 255, 255, 1)"}
    assert browser.complaints() == []
    browser.screenshot(Path(SCREENSHOT) if SCREENSHOT else picture)
