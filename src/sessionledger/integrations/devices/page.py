"""The page, its texts, and a login as the page shows it: short plain text, whoever wrote it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any, Final

import msgspec

from sessionledger import Session
from sessionledger.integrations.requirements import A_SESSION, Requirements
from sessionledger.timestamps import stamp

TEXTS: Final[Mapping[str, str]] = {
    "language": "en",
    "direction": "ltr",
    "title": "Where you are signed in",
    "signed_in_as": "You are signed in as {principal}.",
    "this_device": "This device",
    "browser_on_system": "{browser} on {system}",
    "unknown_device": "Unknown device",
    "address": "Address {address}",
    "last_seen": "Last active {time}",
    "created": "Signed in {time}",
    "time": "{date} {clock} UTC",
    "more": "{count} more are not shown.",
    "end": "Sign out",
    "end_others": "Sign out all other devices",
    "end_all": "Sign out everywhere",
}
"""Every text of the page by its name, in English."""

STYLE = files(__package__).joinpath("style.css").read_bytes()
MOST_CHARS = 160


class DevicePage(msgspec.Struct, frozen=True, kw_only=True):
    """How the page reads, and what follows it. Raises `ValueError`.

    texts: replaces texts of `TEXTS` by name; lazy translations will do. after_log_out: the path
    where a browser goes that signed itself out. to_end: what it takes to end other sessions.
    """

    texts: Mapping[str, Any] = {}
    after_log_out: str = "/"
    to_end: Requirements = A_SESSION

    def __post_init__(self) -> None:
        if unknown := self.texts.keys() - TEXTS.keys():
            raise ValueError(f"texts must have names of TEXTS, got {', '.join(sorted(unknown))}")
        if not self.after_log_out.startswith("/") or self.after_log_out.startswith("//"):
            raise ValueError(f"after_log_out must be a path, got {self.after_log_out!r}")

    def html(self, principal: str, devices: Sequence[Mapping[str, Any]], more: int) -> str | None:
        """The page; None without Jinja2."""
        if (render := _template()) is None:
            return None
        from markupsafe import Markup, escape

        def say(name: str, **values: object) -> Markup:
            text = escape(str(self.texts.get(name, TEXTS[name])))
            return text.format(**{k: Markup("<bdi>{}</bdi>").format(v) for k, v in values.items()})

        return render(say=say, principal=as_shown(principal), devices=devices, more=more)


@cache
def _template() -> Callable[..., str] | None:
    try:
        from jinja2 import Environment, StrictUndefined
    except ModuleNotFoundError:
        return None
    environment = Environment(autoescape=True, undefined=StrictUndefined)
    return environment.from_string(files(__package__).joinpath("page.html").read_text()).render


def device_of(session: Session, own: Session) -> dict[str, Any]:
    """What the bearer of the session `own` sees of a session."""
    agent = session.context.get("user_agent", "")
    browser, system = _names_in(agent[:MOST_CHARS])
    return {
        "id": login_of(session),
        "current": login_of(session) == login_of(own),
        "browser": browser,
        "system": system,
        "user_agent": as_shown(agent) or None,
        "address": as_shown(session.context.get("address", "")) or None,
        "created_at": stamp(session.created_at),
        "last_seen_at": stamp(session.last_seen_at),
        "expires_at": stamp(session.expires_at),
    }


def login_of(session: Session) -> str:
    """What names a login through rotations, and is not a token: the handle of its first session."""
    return session.family or session.handle


def as_shown(text: str) -> str:
    """One short line, without characters that nobody sees or that turn the text around."""
    line = "".join(c if c.isprintable() else "\ufffd" for c in text[: MOST_CHARS + 1])
    return line if len(line) <= MOST_CHARS else f"{line[:MOST_CHARS]}…"


def _names_in(user_agent: str) -> tuple[str | None, str | None]:
    """Browser and system, if ua-parser is installed and knows them."""
    try:
        from ua_parser import parse
    except ModuleNotFoundError:
        return None, None
    found = parse(user_agent)
    named = (found.user_agent, found.os, found.device)
    browser, system, device = (as_shown(one.family) if one else "" for one in named)
    if len(device) > 1 and not system.startswith(device):  # "K" is any Android
        system = f"{system} ({device})" if system else device
    return browser or None, system or None
