"""A browser, as far as sites can tell: its cookies (RFC 6265bis), `Origin` and `Sec-Fetch-Site`.

It opens pages of any origin, which then send requests to the one site that it talks to.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Literal, Protocol
from urllib.parse import urlsplit

Header = tuple[str, str]


class Answer(Protocol):
    """What a site answers."""

    status: int
    text: str

    def all(self, name: str) -> list[str]:
        """The values of a header."""


@dataclass
class Kept:
    """A cookie that the browser keeps."""

    value: str
    same_site: str


@dataclass
class Browser:
    """modern: it knows `SameSite` and says `Sec-Fetch-Site`. An old one does neither, and says
    `Origin` with what is no `GET`. ask: sends a request to the site, whose origin is `site`."""

    ask: Callable[[str, str, list[Header]], Answer]
    site: str
    modern: bool = True
    cookies: dict[str, Kept] = field(default_factory=dict)

    def page(self, origin: str) -> Page:
        """A page of an origin, open in this browser."""
        return Page(self, origin)

    def send(self, method: str, path: str, given: list[Header], *, lax: bool, own: bool) -> Answer:
        """Send a request with the cookies that go with it, and keep those that come back."""
        sent = [
            f"{name}={one.value}"
            for name, one in self.cookies.items()
            if own or not self.modern or (lax and one.same_site == "Lax")
        ]
        # Among others, which nobody here set.
        cookies = "; ".join(["theme=dark", *sent, "other=1"])
        answer = self.ask(method, path, [*given, ("Cookie", cookies)])
        for line in answer.all("set-cookie"):
            for name, morsel in SimpleCookie(line).items():
                assert morsel["secure"], "the site is one of TLS"
                self.cookies[name] = Kept(morsel.value, morsel["samesite"])
                if morsel["max-age"] == "0":
                    del self.cookies[name]
        return answer


@dataclass
class Page:
    """A page, and how it can make the browser ask the site."""

    browser: Browser
    origin: str

    def follow(self, path: str) -> Answer:
        """Lead the browser there: a link, or `location = …`."""
        return self._send("GET", path, [], navigates=True)

    def submit(self, path: str) -> Answer:
        """Submit a form, which scripts can do without the user."""
        return self._send("POST", path, [("Origin", self.origin)], navigates=True)

    def embed(self, path: str) -> Answer:
        """Show it as an image."""
        return self._send("GET", path, [], navigates=False)

    def fetch(self, method: Literal["GET", "HEAD", "POST"], path: str) -> Answer:
        """`fetch` with credentials, by a method that needs no permission beforehand."""
        own = self.origin == self.browser.site and method != "POST"
        return self._send(method, path, [] if own else [("Origin", self.origin)], navigates=False)

    def open_socket(self, path: str) -> Answer:
        """`new WebSocket(…)`, whose answer is no 101 here."""
        key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        given = [("Origin", self.origin), key, ("Sec-WebSocket-Version", "13")]
        return self._send("GET", path, given, navigates=False)

    def _send(self, method: str, path: str, given: list[Header], *, navigates: bool) -> Answer:
        relation = _relation(self.origin, self.browser.site)
        if self.browser.modern:
            given = [*given, ("Sec-Fetch-Site", relation)]
        lax = navigates and method == "GET"
        return self.browser.send(method, path, given, lax=lax, own=relation != "cross-site")


def _relation(origin: str, site: str) -> str:
    """As `Sec-Fetch-Site` says it. A registrable domain is two labels here."""
    if origin == site:
        return "same-origin"
    (scheme, host), (wanted, name) = (
        (parts.scheme, ".".join((parts.hostname or "").split(".")[-2:]))
        for parts in map(urlsplit, (origin, site))
    )
    return "same-site" if (scheme, host) == (wanted, name) else "cross-site"
