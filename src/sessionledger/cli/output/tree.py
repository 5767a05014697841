"""Sessions as a tree: each child below its parent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sessionledger import Session
from sessionledger.cli.output.formatting import Record


def in_tree_order(
    listed: Iterable[Session], everybody: Iterable[Session]
) -> Iterator[tuple[int, Session]]:
    """Each listed session once, and behind it all below it; with its depth in this listing.

    everybody: the sessions among which the children are. A session whose parent is not listed
    stands at the top, behind those without a parent. Only children are kept in memory.
    """
    children: dict[str | None, list[Session]] = {}
    for child in sorted((one for one in everybody if one.ancestors), key=_by_age):
        children.setdefault(child.parent, []).append(child)
    shown: set[str] = set()
    lower: list[Session] = []
    for session in listed:
        if session.ancestors:
            lower.append(session)
        else:
            yield from _with_children(session, children, shown)
    for session in sorted(lower, key=lambda session: (len(session.ancestors), _by_age(session))):
        yield from _with_children(session, children, shown)


def branch(record: Record, field: str, depth: int, for_people: bool) -> Record:
    """A record at its depth: for people a field is indented, otherwise the depth is the last."""
    if not for_people:
        return record | {"depth": depth}
    return record | {field: "  " * (depth - 1) + "└ " + record[field]} if depth else record


def _with_children(
    top: Session, children: dict[str | None, list[Session]], shown: set[str]
) -> Iterator[tuple[int, Session]]:
    """A session and all below it, without those that were shown."""
    due = [(0, top)]
    while due:
        depth, session = due.pop()
        if session.handle in shown:
            continue
        if session.ancestors:
            shown.add(session.handle)
        yield depth, session
        below = children.pop(session.family or session.handle, [])
        due += [(depth + 1, child) for child in reversed(below)]


def _by_age(session: Session) -> tuple[float, str]:
    return session.created_at.timestamp(), session.handle
