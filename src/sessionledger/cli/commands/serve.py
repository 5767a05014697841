"""The commands that put a ledger behind HTTP. Their options are the settings of the service."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from types import UnionType
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from msgspec import structs

from sessionledger import InvalidPolicy, Policy
from sessionledger.cli.exit_codes import OK, UNAVAILABLE, USAGE, Failure
from sessionledger.cli.input.ledger import JSON, Ledger, url_of
from sessionledger.cli.input.values import duration, format_duration, whole_number
from sessionledger.cli.output.answers import columns, show_all
from sessionledger.cli.output.formatting import Record, escape
from sessionledger.cli.parser import OMITTED, InvalidValue, Option, command
from sessionledger.server.settings import Settings, shown

if TYPE_CHECKING:  # it takes an extra
    from sessionledger.console.listener import Listener

MISSING = "serving needs packages that are not installed: pip install 'sessionledger[{}]'"
TITLES = columns("setting, value, source from")

# What stands behind the option of a setting, and its help.
HELP = {
    "ledger": ("-l URL", "The ledger: URL or path."),
    "topic": ("TOPIC", "The topic of its sessions."),
    "durability": ("full|normal", "Whether a write is on disk when it is answered."),
    "max_staleness": (
        "SPAN",
        "How old an answer from memory may be, a revocation late; PostgreSQL only.",
    ),
    "host": ("ADDRESS", "The address to listen on."),
    "port": ("PORT", "The port to listen on; 0 for any."),
    "workers": ("N", "How many processes serve."),
    "realm": ("TEXT", "The name of the service in challenges."),
    "cookie": ("NAME", "The cookie that /auth reads."),
    "audience": ("TEXT", "The aud that introspection answers."),
    "trusted_origins": ("ORIGINS", "Origins whose pages may use that cookie, with commas between."),
    "cross_site_cookies": (
        "",
        "Let every site use that cookie: your application refuses forged requests.",
    ),
    "max_body_bytes": ("BYTES", "The largest body."),
    "max_header_bytes": ("BYTES", "The largest path and headers together."),
    "max_streams": ("N", "Streams of events at a time, in each worker."),
    "key_requests_per_minute": ("N", "Requests with one admin key; none for any number."),
    "principal_requests_per_minute": ("N", "Requests of one principal's bearers; as above."),
    "address_requests_per_minute": (
        "N",
        "Requests of one address without good credentials; as above.",
    ),
    "writes_per_minute": ("N", "Writes to one session."),
    "trusted_proxies": ("NETWORKS", "Proxies that tell the client, with commas between."),
    "request_timeout": ("SPAN", "How long a request may take to arrive, and to be answered."),
    "keep_alive": ("SPAN", "How long an idle connection stays open."),
    "stop_timeout": ("SPAN", "How long requests may still take when the service stops."),
    "heartbeat": ("SPAN", "How often a quiet stream of events sends a comment."),
    "stream_lifetime": ("SPAN", "How long a stream lasts before its client reconnects."),
    "sweep_interval": ("SPAN", "How often lapsed sessions are recorded as ended."),
    "retention": ("SPAN", "Keep events for so long, and remove older ones: 90d."),
    "archive": ("DIR", "Copy what is removed to this folder first."),
    "maintenance_interval": ("SPAN", "How often older ones are removed."),
    "webhooks": ("PATH", "The file of webhook endpoints; the ledger's own if not given."),
    "webhook_hosts": (
        "HOSTS",
        "Hosts that webhooks made over HTTP may reach though private, with commas between.",
    ),
    "backchannel": ("PATH", "The file with the provider whose logout tokens end sessions."),
    "access_log": ("--no-access-log", "Write a line of JSON on stderr for each request."),
    "console": ("", "Serve the console, too."),
    "console_address": ("ADDRESS", "Where the console listens: IP address and port."),
    "console_hosts": (
        "HOSTS",
        "The hosts by which browsers reach the console, with commas between.",
    ),
    "ttl": ("SPAN", "How long a session lives that gives no end."),
    "idle_timeout": ("SPAN", "How long a session may go unseen."),
    "absolute_timeout": ("SPAN", "How long a session may live at most."),
    "touch_interval": (
        "SPAN",
        "How often a sighting is recorded; a tenth of the idle timeout, at most 10m, if not given.",
    ),
    "rotation_grace": ("SPAN", "How long a replaced token still authenticates."),
    "on_reuse": ("revoke|deny", "What happens when it is presented later."),
    "max_sessions_per_principal": ("N", "How many live sessions a principal may have."),
    "on_limit": ("deny|evict_oldest", "What happens when there would be one more."),
}


def _variable(name: str) -> str:
    return "SESSIONLEDGER_URL" if name == "ledger" else f"SESSIONLEDGER_{name.upper()}"


def _options_of(struct: type[Settings | Policy]) -> Iterator[Option]:
    """The settings of a struct as options, of which only those that are given have a value."""
    hints = get_type_hints(struct)
    for field in structs.fields(struct):
        if field.name in HELP:
            metavar, text = HELP[field.name]
            default = f"; default: {told}" if (told := _told(field.default)) else ""
            yield Option(
                f"--{field.name.replace('_', '-')} {metavar}",
                f"{text} [{_variable(field.name)}{default}]",
                read=_reader(hints[field.name]),
                default=OMITTED,
                suggestions=metavar.split("|") if "|" in metavar else (),
            )


def _reader(hint: Any) -> Callable[[str], Any]:
    """How a value of a type is read; of an optional one, too."""
    kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
    if isinstance(hint, UnionType) and kind is not str:
        return lambda text: None if text == "none" else _reader(kind)(text)
    if get_origin(kind) is Literal:
        return _one_of(get_args(kind))
    if get_origin(kind) is tuple:
        return lambda text: tuple(text.replace(",", " ").split())
    return {bool: _switch, int: whole_number(0), timedelta: duration}.get(kind, str)


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise InvalidValue(f"must be one of {', '.join(choices)}", text)
        return text

    return read


def _switch(text: str) -> bool:
    if text.lower() in ("1", "true", "yes", "on"):
        return True
    if text.lower() in ("0", "false", "no", "off"):
        return False
    raise InvalidValue("must be 1 or 0", text)


def _told(default: Any) -> str:
    match default:
        case None:
            return ""
        case bool():
            return "on" if default else "off"
        case timedelta():
            return format_duration(default)
        case tuple():
            return " ".join(default)
    return str(default)


_OF_POLICY = [*_options_of(Policy)]
_SETTINGS = [*_options_of(Settings), *_OF_POLICY]
_OF_CONSOLE = [
    option
    for option in _SETTINGS
    if option.name
    in (
        *("ledger", "topic", "durability", "trusted_proxies", "address_requests_per_minute"),
        *("webhooks", "webhook_hosts", "console_address", "console_hosts"),
    )
]


@command(*_SETTINGS, Option("--show-config", "Show the settings, secrets masked."), JSON)
def serve(show_config: bool, json: bool, **given: Any) -> int:
    """Serve the ledger over HTTP, until interrupted or told to stop.

    Makes the ledger if it does not exist. Each setting is an option or a variable; an option wins.
    """
    environment = _from_environment(_SETTINGS, given)
    settings = _settings(environment | given)
    if show_config:
        sources = dict.fromkeys(environment, "environment") | dict.fromkeys(given, "commandline")
        show_all(_records(settings, sources), TITLES, json)
        return OK
    beside = _listener(settings) if settings.console else None

    def announce(url: str) -> None:
        _announce("serving", url)
        if beside is not None:
            _announce("console", beside.url)

    try:
        return _server()(settings, announce, beside)
    except OSError as error:
        raise Failure(UNAVAILABLE, "system", str(error)) from None


@command(*_OF_CONSOLE)
def console(**given: Any) -> int:
    """Serve the console of a ledger, until interrupted or told to stop.

    It is for people, who log in with an admin key. A service may run on the same ledger. Each
    setting is an option or a variable; an option wins.
    """
    values = _from_environment(_OF_CONSOLE, given)
    settings = _settings(values | given)
    Ledger(settings.ledger).existing_url()
    listener = _listener(settings)
    try:
        listener.bind()
        listener.run(lambda url: _announce("console", url))
    except OSError as error:
        raise Failure(UNAVAILABLE, "system", str(error)) from None
    return OK


def _from_environment(options: Iterable[Option], given: dict[str, Any]) -> dict[str, Any]:
    """The settings that variables say and no option does."""
    return {
        setting.name: setting.value(variable, text)
        for setting in options
        if setting.name not in given
        and (text := os.environ.get(variable := _variable(setting.name)))
    }


def _settings(values: dict[str, Any]) -> Settings:
    """The settings of these values. Raises `Failure` for invalid ones."""
    of_policy = {s.name: values.pop(s.name) for s in _OF_POLICY if s.name in values}
    if "ledger" in values:
        values["ledger"] = url_of(values["ledger"])
    try:
        return Settings(policy=Policy(**of_policy), **values)
    except (InvalidPolicy, ValueError) as error:
        raise Failure(USAGE, "invalid_setting", str(error)) from None


def _listener(settings: Settings) -> Listener:
    try:
        from sessionledger.console.listener import Listener
    except ImportError as missing:  # some of a framework's are no `ModuleNotFoundError`
        if (missing.name or "").startswith("sessionledger"):
            raise
        raise Failure(USAGE, "missing_extra", MISSING.format("console")) from None
    return Listener(settings)


def _server() -> Callable[[Settings, Callable[[str], None], Listener | None], int]:
    try:
        from sessionledger.server.process.serve import UntestedUvicorn
        from sessionledger.server.process.serve import serve as run_server
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("sessionledger"):
            raise
        raise Failure(USAGE, "missing_extra", MISSING.format("server")) from None

    def run(settings: Settings, ready: Callable[[str], None], beside: Listener | None) -> int:
        try:
            return run_server(settings, ready, beside)
        except UntestedUvicorn as error:
            raise Failure(USAGE, "untested_uvicorn", str(error)) from None
        except (ImportError, ValueError) as error:
            raise Failure(USAGE, "invalid_setting", f"backchannel: {error}") from None

    return run


def _announce(what: str, url: str) -> None:
    print(f"{what} at {escape(url)}", file=sys.stderr, flush=True)


def _records(settings: Settings, sources: dict[str, str]) -> Iterable[Record]:
    values = shown(settings)
    for name in HELP:
        yield {"setting": name, "value": values[name], "source": sources.get(name, "default")}
