"""Headless Chromium, driven as the WebDriver standard says: what a user sees and clicks."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from sessionledger.testing.fixtures import until
from tests.servers import once, program, run_folder, serve

PATIENCE_SECONDS = 60
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The name that the standard gives the id of an element."""


class Chromium:
    """One browser with cookies of its own."""

    def __init__(self, driver: httpx.Client, session: str) -> None:
        self._driver = driver
        self._session = session

    def open(self, url: str) -> None:
        self._tell("POST", "url", url=url)

    @property
    def url(self) -> str:
        return str(self._tell("GET", "url"))

    @property
    def text(self) -> str:
        """What is visible of the page."""
        return str(self._tell("GET", f"element/{self._find('css selector', 'body')}/text"))

    def click(self, xpath: str) -> None:
        """Click the element, which leads to another page, and wait for that."""
        element = self._find("xpath", xpath)
        self._tell("POST", f"element/{element}/click")
        until(lambda: self._is_gone(element))

    def _is_gone(self, element: str) -> bool:
        path = f"/session/{self._session}/element/{element}/name"
        return self._driver.get(path).json()["value"].__class__ is dict

    def write(self, selector: str, text: str) -> None:
        """Type a text into a field."""
        self._write(self._find("css selector", selector), text)

    def write_at(self, xpath: str, text: str) -> None:
        """Type a text into the field at an XPath."""
        self._write(self._find("xpath", xpath), text)

    def _write(self, element: str, text: str) -> None:
        self._tell("POST", f"element/{element}/value", text=text)

    def resize(self, width: int, height: int) -> None:
        """Show pages in a window of this size."""
        told = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self._tell(
            "POST",
            "goog/cdp/execute",
            cmd="Emulation.setDeviceMetricsOverride",
            params=told,
        )

    def style(self, selector: str, name: str) -> str:
        """The computed value of a CSS property."""
        element = self._find("css selector", selector)
        return str(self._tell("GET", f"element/{element}/css/{name}"))

    def run(self, script: str) -> Any:
        """What a script of the page returns, once its promise is kept."""
        return self._tell("POST", "execute/sync", script=script, args=[])

    def prefer(self, scheme: str) -> None:
        """Set `prefers-color-scheme`."""
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        told = {"cmd": "Emulation.setEmulatedMedia", "params": {"features": features}}
        self._tell("POST", "goog/cdp/execute", **told)

    def complaints(self) -> list[str]:
        """What its console says of the pages since the last call, icons aside."""
        entries = self._tell("POST", "se/log", type="browser")
        return [one["message"] for one in entries if "favicon" not in one["message"]]

    def screenshot(self, path: Path) -> None:
        """A PNG of the window."""
        path.write_bytes(base64.b64decode(self._tell("GET", "screenshot")))

    def _find(self, using: str, value: str) -> str:
        return str(self._tell("POST", "element", using=using, value=value)[ELEMENT])

    def _tell(self, method: str, command: str, **told: Any) -> Any:
        return _answer(self._driver, method, f"/session/{self._session}/{command}", told)


@contextmanager
def opened(user_agent: str, size: str = "520,860") -> Iterator[Chromium]:
    """A browser that calls itself so."""
    arguments = [
        *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        "--hide-scrollbars",
        *(f"--user-agent={user_agent}", f"--window-size={size}", "--lang=en"),
    ]
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": {"binary": program("chromium"), "args": arguments},
        "goog:loggingPrefs": {"browser": "ALL"},
    }
    port = once("chromedriver", _start)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_SECONDS) as driver:
        told = {"capabilities": {"alwaysMatch": wanted}}
        session = _answer(driver, "POST", "/session", told)["sessionId"]
        try:
            yield Chromium(driver, session)
        finally:
            driver.delete(f"/session/{session}")


def _start() -> str:
    at = run_folder() / "chromedriver"
    at.mkdir()
    serve(at, [program("chromedriver"), "--port=0"], ready="started successfully on port")
    port = re.search(r"started successfully on port (\d+)", (at / "log").read_text())
    assert port is not None
    return port[1]


def _answer(driver: httpx.Client, method: str, path: str, told: dict[str, Any]) -> Any:
    answer = driver.request(method, path, json=told if method == "POST" else None).json()["value"]
    assert not (isinstance(answer, dict) and "error" in answer), answer
    return answer
