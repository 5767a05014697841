"""How answers look: a table on a terminal, tab-separated lines in a pipe, JSON when asked.

An answer is a record, a flat dict in the order of its columns; lines and JSON show all of it.
Nothing that was stored can steer the terminal or break a line: what is not printable is shown as
an escape, everywhere.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

Record: TypeAlias = dict[str, Any]

# Names that people copy stand in a table as a whole; of JSON the beginning is enough.
_JSON_CHARS = 60
_WIDER_THAN_ANY_TABLE = 10_000

# How long a quiet ledger is waited for before looking whether anybody still reads the output.
PATIENCE_SECONDS = 0.5


class PipeClosed(Exception):
    """Whoever read the output stopped reading."""


def on_terminal() -> bool:
    """Whether the answer goes to a person's screen."""
    return sys.stdout.isatty()


def write(text: str) -> None:
    """A line on stdout. Raises `PipeClosed`."""
    try:
        sys.stdout.write(text + "\n")
    except BrokenPipeError:
        raise PipeClosed from None


def flush() -> None:
    """Hand over what was written. Raises `PipeClosed`."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        raise PipeClosed from None


def stamp(instant: datetime) -> str:
    """An instant as RFC 3339, with `Z` for UTC and no trailing zeros in a fraction."""
    text = instant.isoformat()
    time, offset = text[:-6], text[-6:]
    if instant.microsecond:
        time = time.rstrip("0")
    return time + ("Z" if offset == "+00:00" else offset)


def escape(text: str) -> str:
    r"""The text with whatever is not printable as an escape: `\x1b`, `\n`, `\u202e`.

    A backslash becomes two, so that no text can pass itself off as another.
    """
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(_shown(character) for character in text)


def json_line(value: Any) -> str:
    """The value as one line of JSON, unprintable characters as its escapes."""
    text = msgspec.json.encode(_plain(value)).decode()
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _json_escape(c) for c in text)


def cell(value: Any) -> str:
    """A value in a column: text escaped, objects as JSON, nothing for None."""
    match value:
        case None:
            return ""
        case str():
            return escape(value)
        case datetime():
            return stamp(value)
        case timedelta():
            return str(msgspec.to_builtins(value))
        case bool() | dict() | list():
            return json_line(value)
    return str(value)


def line(record: Record) -> str:
    """A record as a tab-separated line."""
    return "\t".join(map(cell, record.values()))


def show(record: Record, as_json: bool) -> None:
    """One record: fields below each other for people."""
    if as_json:
        write(json_line(record))
    elif on_terminal():
        _draw_fields(record)
    else:
        write(line(record))


def show_all(records: Iterable[Record], columns: Mapping[str, str], as_json: bool) -> None:
    """Records: a table of some columns, field to title, for people; else a line each."""
    if on_terminal() and not as_json:
        _draw_table(list(records), columns)
        return
    for record in records:
        write(json_line(record) if as_json else line(record))


def stream(records: Iterable[Record], columns: Mapping[str, int], as_json: bool) -> None:
    """Records as they come, each handed over at once: for people some columns, field to width."""
    aligned = on_terminal() and not as_json
    for record in records:
        if aligned:
            write(_aligned(record, columns))
        else:
            write(json_line(record) if as_json else line(record))
        flush()


def check_reader() -> None:
    """Raises `PipeClosed` when whoever read the output has gone, without writing anything."""
    watch = select.poll()
    watch.register(sys.stdout, 0)
    if watch.poll(0):
        raise PipeClosed


def _aligned(record: Record, columns: Mapping[str, int]) -> str:
    """Columns below those of the line before, cut to the width of the terminal."""
    cells = (_short(record[field]).ljust(width) for field, width in columns.items())
    return "  ".join(cells).rstrip()[: _terminal_width()]


def _terminal_width() -> int:
    from shutil import get_terminal_size  # brings compressors along, and pipes have no width

    return get_terminal_size().columns


def _draw_fields(record: Record) -> None:
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for field, value in record.items():
        if value is not None:
            table.add_row(field.replace("_", " "), _whole(value))
    _print(table)


def _draw_table(records: Sequence[Record], columns: Mapping[str, str]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for field, title in columns.items():
        table.add_column(title, overflow="fold", no_wrap=field == "handle")
    for record in records:
        table.add_row(*(_text(record[field]) for field in columns))
    if not records:
        write("none")
    elif _fits(table):
        _print(table)
    else:
        _draw_apart(records, columns)


def _draw_apart(records: Sequence[Record], columns: Mapping[str, str]) -> None:
    """Each record by itself, where no table would have room for its words."""
    for number, record in enumerate(records):
        if number:
            write("")
        if "handle" in columns:
            write(_told(record["handle"]))  # a line of its own has room for it, on most screens
        rest = (field for field in columns if field != "handle" and record[field] not in ({}, []))
        _draw_fields({columns[field]: record[field] for field in rest})


def _fits(table: Table) -> bool:
    """Whether no word has to be broken for it."""
    from rich.measure import Measurement

    console = _console()
    unbounded = console.options.update_width(_WIDER_THAN_ANY_TABLE)
    return Measurement.get(console, unbounded, table).minimum <= console.width


def _print(table: Table) -> None:
    _console().print(table)


def _console() -> Console:
    from rich.console import Console

    return Console(file=sys.stdout)


def _whole(value: Any) -> Text:
    """A value as rich takes it as it is: `Text` reads neither markup nor emoji codes."""
    from rich.text import Text

    return Text(_told(value))


def _text(value: Any) -> Text:
    """The same for a column, where an object is cut to its beginning, and an empty one left out."""
    from rich.text import Text

    return Text(_short(value))


def _told(value: Any) -> str:
    return _second(value) if isinstance(value, datetime) else cell(value)


def _short(value: Any) -> str:
    if isinstance(value, dict | list):
        return _beginning(cell(value)) if value else ""
    return _told(value)


def _beginning(text: str) -> str:
    return text if len(text) <= _JSON_CHARS else text[: _JSON_CHARS - 1] + "…"


def _second(instant: datetime) -> str:
    try:
        return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"
    except OverflowError:
        return stamp(instant)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return stamp(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _shown(character: str) -> str:
    if character == "\\":
        return "\\\\"
    if character.isprintable():
        return character
    return character.encode("unicode_escape").decode("ascii")


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))
