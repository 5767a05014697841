"""The cursors of consumers: a small file for each pair of topic and consumer.

It is `consumers/<topic>__<consumer>.json`, as in the reference. Two pairs may share a file's name
(`a__b` with `c`, `a` with `b__c`). The pair that is named in the file has it.
"""

from __future__ import annotations

import errno
import time
from pathlib import Path

import msgspec

from sessionledger.errors import CorruptLog, InvalidEvent
from sessionledger.logs.file.disk import Disk

_MAX_NAME_BYTES = 255 - len(".") - len(".new")


class _Cursor(msgspec.Struct):
    topic: str
    consumer_id: str
    cursor: int
    updated_at_ms: int


_read = msgspec.json.Decoder(_Cursor).decode
_write = msgspec.json.Encoder().encode


def cursor(disk: Disk, topic: str, consumer: str) -> int:
    """What the consumer last acknowledged, 0 before the first."""
    found = found_in(_path(disk, topic, consumer))
    return found.cursor if found is not None and _is_of(found, topic, consumer) else 0


def ack(disk: Disk, topic: str, consumer: str, cursor: int) -> None:
    """Keep a cursor, if it is ahead of the one that is kept. The caller has the writer's lock."""
    path = _path(disk, topic, consumer)
    if len(path.name) > _MAX_NAME_BYTES:
        raise InvalidEvent("a topic and a consumer are too long to name a file together")
    found = found_in(path)
    if found is not None and not _is_of(found, topic, consumer):
        raise InvalidEvent(
            f"consumer {found.consumer_id!r} of topic {found.topic!r} has the file {path.name} "
            "already: give this consumer another name"
        )
    if found is None or found.cursor < cursor:
        now = time.time_ns() // 1_000_000
        disk.replace(path, _write(_Cursor(topic, consumer, cursor, now)))


def cursors(disk: Disk, topic: str) -> dict[str, int]:
    """The cursors of a topic, by their consumers. Raises `CorruptLog`."""
    paths = disk.root.glob(f"consumers/{topic}__*.json")
    found = [one for path in paths if (one := found_in(path)) is not None]
    return {one.consumer_id: one.cursor for one in found if one.topic == topic}


def forget(disk: Disk, topic: str, consumer: str) -> None:
    """Remove a cursor, durably. The caller has the writer's lock."""
    path = _path(disk, topic, consumer)
    found = found_in(path)
    if found is not None and _is_of(found, topic, consumer):
        path.unlink()
        disk.flush_folder(path.parent)


def _path(disk: Disk, topic: str, consumer: str) -> Path:
    return disk.root / "consumers" / f"{topic}__{consumer}.json"


def _is_of(found: _Cursor, topic: str, consumer: str) -> bool:
    return (found.topic, found.consumer_id) == (topic, consumer)


def found_in(path: Path) -> _Cursor | None:
    """The cursor in a file, None where there is none. Raises `CorruptLog`."""
    try:
        return _read(path.read_bytes())
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise CorruptLog(
            f"{path} can't be read: remove it, and its consumer begins again"
        ) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return None
        raise
