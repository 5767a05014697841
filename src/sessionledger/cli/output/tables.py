"""Records as tables on a terminal, drawn by rich. Only a terminal imports this module."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sessionledger.cli.output.formatting import Record, readable, short
from sessionledger.cli.output.stdout import write

_WIDER_THAN_ANY_TABLE = 10_000


def draw_fields(record: Record) -> None:
    """The fields of a record below each other, without those that have no value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for field, value in record.items():
        if value is not None:
            # `Text` reads neither markup nor emoji codes.
            table.add_row(field.replace("_", " "), Text(readable(value)))
    Console(file=sys.stdout).print(table)


def draw_table(records: Sequence[Record], columns: Mapping[str, str]) -> None:
    """Some columns of the records, field to title."""
    if not records:
        write("none")
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for field, title in columns.items():
        table.add_column(title, overflow="fold", no_wrap=field == "handle")
    for record in records:
        table.add_row(*(Text(short(record[field])) for field in columns))
    console = Console(file=sys.stdout)
    if _fits(table, console):
        console.print(table)
    else:
        _draw_one_by_one(records, columns)


def _fits(table: Table, console: Console) -> bool:
    """Whether no word has to be broken for it."""
    unbounded = console.options.update_width(_WIDER_THAN_ANY_TABLE)
    return Measurement.get(console, unbounded, table).minimum <= console.width


def _draw_one_by_one(records: Sequence[Record], columns: Mapping[str, str]) -> None:
    """Each record by itself, where no table would have room for its words."""
    for number, record in enumerate(records):
        if number:
            write("")
        if "handle" in columns:
            write(readable(record["handle"]))  # most screens have room for it on its own line
        rest = (field for field in columns if field != "handle" and record[field] not in ({}, []))
        draw_fields({columns[field]: record[field] for field in rest})
