"""Records on standard output: tables on a terminal, lines in a pipe, or JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sessionledger.cli.output.formatting import Record, json_line, line, short
from sessionledger.cli.output.stdout import flush, on_terminal, write


def columns(text: str) -> dict[str, str]:
    """The columns of a table, field to title or width: `field, field its title, field 20`."""
    divided = (column.partition(" ") for column in text.split(", "))
    return {field: said or field for field, _, said in divided}


def show(record: Record, as_json: bool) -> None:
    """One record: fields below each other for people."""
    if not as_json and on_terminal():
        from sessionledger.cli.output.tables import draw_fields

        draw_fields(record)
    else:
        _write_record(record, as_json)


def show_secret(name: str, secret: str, record: Record, as_json: bool) -> None:
    """A secret, shown this once: alone in a pipe, below the record on a terminal."""
    if as_json:
        show({name: secret, **record}, as_json)
        return
    if on_terminal():
        show(record, as_json)
        write(f"\nThe {name}, shown this once:")
    write(secret)


def show_all(records: Iterable[Record], columns: Mapping[str, str], as_json: bool) -> None:
    """Records: a table of some columns, field to title, for people; else a line each."""
    if not as_json and on_terminal():
        from sessionledger.cli.output.tables import draw_table

        draw_table(list(records), columns)
        return
    for record in records:
        _write_record(record, as_json)


def stream(records: Iterable[Record], columns: Mapping[str, str], as_json: bool) -> None:
    """Records as they come, each handed over at once: for people some columns, field to width."""
    aligned = not as_json and on_terminal()
    for record in records:
        if aligned:
            write(_aligned(record, columns))
        else:
            _write_record(record, as_json)
        flush()


def _write_record(record: Record, as_json: bool) -> None:
    write(json_line(record) if as_json else line(record))


def _aligned(record: Record, columns: Mapping[str, str]) -> str:
    """Columns below those of the line before, cut to the width of the terminal."""
    from shutil import get_terminal_size  # imports compressors, and pipes have no width

    cells = (short(record[field]).ljust(int(width)) for field, width in columns.items())
    return "  ".join(cells).rstrip()[: get_terminal_size().columns]
