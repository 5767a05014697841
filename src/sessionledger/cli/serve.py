"""The command that puts a ledger behind HTTP."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from inspect import Parameter, Signature
from types import UnionType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from msgspec import structs

from sessionledger import InvalidPolicy, Policy
from sessionledger.cli import options
from sessionledger.cli.durations import format_duration
from sessionledger.cli.exits import UNAVAILABLE, USAGE, Failure
from sessionledger.cli.opening import address
from sessionledger.cli.present import Record, escape, show_all
from sessionledger.cli.settings import HELP, OF_POLICY, VARIABLES
from sessionledger.server.settings import Settings, shown

MISSING = "serving needs packages that are not installed: pip install 'sessionledger[server]'"
TITLES = {"setting": "setting", "value": "value", "source": "from"}


def serve(context: typer.Context, show_config: bool, json: bool, **given: Any) -> None:
    """Serve the ledger over HTTP, until it is interrupted or told to stop.

    Makes the ledger if there is none. Each setting is an option or a variable, the option first.
    """
    settings = _settings({name: value for name, value in given.items() if value is not None})
    if show_config:
        show_all(_told(context, settings), TITLES, json)
        return
    try:
        raise typer.Exit(_serving()(settings, _announce))
    except OSError as error:
        raise Failure(UNAVAILABLE, "system", str(error)) from None


def _settings(given: dict[str, Any]) -> Settings:
    """The settings that were given. Raises `Failure` for those that can't be."""
    policy = {name: given.pop(name) for name in OF_POLICY if name in given}
    if "ledger" in given:
        given["ledger"] = address(given["ledger"])
    try:
        return Settings(policy=Policy(**policy), **given)
    except (InvalidPolicy, ValueError) as error:
        raise Failure(USAGE, "invalid_setting", str(error)) from None


def _serving() -> Callable[[Settings, Callable[[str], None]], int]:
    try:
        from sessionledger.server.process.serve import serve as serving
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("sessionledger"):
            raise
        raise Failure(USAGE, "missing_extra", MISSING) from None
    return serving


def _announce(url: str) -> None:
    print(f"serving at {escape(url)}", file=sys.stderr, flush=True)


def _told(context: typer.Context, settings: Settings) -> Iterable[Record]:
    values = shown(settings)
    for name in HELP:
        source = context.get_parameter_source(name)
        yield {
            "setting": name,
            "value": values[name],
            "source": "default" if source is None else source.name.lower(),
        }


def _parameters() -> Iterable[Parameter]:
    """The parameters of the command: one for each setting, and how to look at them."""
    yield _parameter("context", typer.Context, Parameter.empty)
    for struct in (Settings, Policy):
        hints = get_type_hints(struct)
        for field in structs.fields(struct):
            if field.name in HELP:
                kind = _kind(hints[field.name])
                yield _parameter(field.name, Annotated[kind | None, _option(field, kind)], None)
    shows = typer.Option("--show-config", help="Show the settings, secrets masked, and exit.")
    yield _parameter("show_config", Annotated[bool, shows], False)
    yield _parameter("json", options.Json, False)


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _kind(hint: Any) -> Any:
    """The type of a setting, which may be none."""
    return get_args(hint)[0] if isinstance(hint, UnionType) else hint


def _reading(kind: Any) -> dict[str, Any]:
    """How the text of a setting is read that is neither text nor number."""
    if get_origin(kind) is Literal:
        return {"parser": _one_of(get_args(kind)), "metavar": "|".join(get_args(kind))}
    if kind is timedelta:
        return {"parser": options.duration, "metavar": "SPAN"}
    return {}


def _option(field: structs.FieldInfo, kind: Any) -> Any:
    """A setting as an option, whose help says what it is where it is not given."""
    name = field.name.replace("_", "-")
    flags = [f"--{name}/--no-{name}" if kind is bool else f"--{name}"]
    if field.name == "ledger":
        flags.append("-l")
    return typer.Option(
        *flags,
        envvar=VARIABLES.get(field.name, f"SESSIONLEDGER_{field.name.upper()}"),
        help=f"{HELP[field.name]} {_otherwise(field.default)}",
        **_reading(kind),
    )


def _one_of(choices: tuple[str, ...]) -> Callable[[str], str]:
    def chosen(text: str) -> str:
        if text not in choices:
            raise typer.BadParameter(f"{escape(text)!r} is not one of {', '.join(choices)}")
        return text

    return chosen


def _otherwise(default: Any) -> str:
    match default:
        case None:
            return "Otherwise none."
        case bool():
            return f"Otherwise {'on' if default else 'off'}."
        case str() | int():
            return f"Otherwise {default}."
    return f"Otherwise {format_duration(default)}."


# Typer reads what a command takes from its signature; this one is written once, by the settings.
_TAKEN = list(_parameters())
serve.__signature__ = Signature(_TAKEN)  # type: ignore[attr-defined]  # functions may have one
serve.__annotations__ = {parameter.name: parameter.annotation for parameter in _TAKEN}
