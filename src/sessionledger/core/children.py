"""Children: sessions that were begun with another one, for an agent or a job.

A child names the family of its parent, so a parent that is rotated keeps its children. All that
are below one login make a tree, with the login's own family at its top.

1. A child may do no more than its parent. Its attributes are among the parent's, with equal values;
   its `scope` has only words of the parent's.
2. It ends no later than its parent. Each of its writes reads the parent, and takes its end over if
   that is nearer. What takes something away from a parent takes it from all below in the same unit.
3. When nobody is left of a family, all below it ends with it, in the same unit.
4. Depth and number are bounded by the policy. What lapsed makes room.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from msgspec.structs import replace

from sessionledger import canonical
from sessionledger.canonical import decode_object
from sessionledger.core.decide import Create
from sessionledger.core.ends import decide_end_all, end_of
from sessionledger.core.events import Cause, Created, Expired, Touched
from sessionledger.core.families import family_of, make_room, newest_of
from sessionledger.core.fold import evolve
from sessionledger.core.lifetimes import idle_timeout, nearer
from sessionledger.core.policy import Policy
from sessionledger.core.session import Ancestor, Session
from sessionledger.core.token import Handle
from sessionledger.errors import InvalidSession, SessionLimitReached

SCOPE = "scope"
"""The attribute whose words are rights."""
SHORTEST_SECRET = 32

Written = TypeVar("Written", Created, Touched)


def tree_of(session: Session) -> Handle:
    """What the session's tree goes by: the family at its top."""
    return session.ancestors[-1].family if session.ancestors else family_of(session)


def belongs_to_tree(session: Session) -> bool:
    """Whether there are, or were, other sessions in its tree."""
    has_relatives = session.ancestors or session.has_children or session.successors
    return bool(has_relatives) or session.family is not None


def parent_among(tree: Iterable[Session], child: Session, now: datetime) -> Session | None:
    """The live session that stands for the parent of a child; None where the parent is over."""
    family = (one for one in tree if family_of(one) == child.parent)
    return newest_of(one for one in family if not one.is_expired_at(now))


def decide_mark(parent: Session) -> Touched:
    """What a session gets before its first child, so that its tree is found through it."""
    return Touched(None, None, parent.last_seen_at, parent.handle, has_children=True)


def refuse_child(session: Session) -> None:
    """Raises `InvalidSession` for a child: its principal's other sessions are not its business."""
    if session.ancestors:
        raise InvalidSession("token", "is that of a child session: use its parent's")


def as_child(command: Create, parent: Session, policy: Policy) -> Create:
    """The command to begin a child: it has an idle timeout where its parent has one."""
    idle = idle_timeout(parent, policy)
    if idle is None or command.idle_timeout is not None:
        return command
    return replace(command, idle_timeout=idle)


def decide_child(created: Created, parent: Session, policy: Policy) -> Created:
    """The creation of a child of a live session.

    Raises `InvalidSession` for what the parent may not do, and for a beginning after the parent's
    end; `SessionLimitReached` where it would be too deep.
    """
    ancestors = (Ancestor(family_of(parent), parent.principal), *parent.ancestors)
    if len(ancestors) > policy.max_child_depth:
        raise SessionLimitReached(
            f"the child would have {len(ancestors)} sessions above it; "
            f"{policy.max_child_depth} are allowed"
        )
    deadline = nearer(created.deadline, parent.deadline)
    child = within_parent(replace(created, ancestors=ancestors, deadline=deadline), parent)
    if child.expires_at <= child.created_at:
        raise InvalidSession("created_at", "must be before the end of the parent")
    return child


def within_parent(event: Written, parent: Session, child: Session | None = None) -> Written:
    """The event as a child may have it: what was asked for is checked, what it had is narrowed.

    child: the session before the event, None at its creation. Raises `InvalidSession` for
    attributes that the parent does not have.
    """
    attributes, end = event.attributes, event.expires_at
    if child is None or attributes not in (None, canonical.encode(child.attributes)):
        assert attributes is not None
        _check_attributes(decode_object(attributes), parent.attributes)
    elif (less := _narrowed(child.attributes, parent.attributes)) is not None:
        attributes = canonical.encode(less)
    if child is not None and end is None:
        end = child.expires_at
    assert end is not None
    expires_at = parent.expires_at if parent.expires_at < end else event.expires_at
    return replace(event, attributes=attributes, expires_at=expires_at)


def decide_narrowing(tree: Sequence[Session], touches: Iterable[Touched]) -> list[Touched]:
    """What is taken from those below sessions that are about to be touched so."""
    now = {session.handle: session for session in tree}
    for touch in touches:
        _apply(now, touch)
    narrowed: list[Touched] = []
    for session in sorted(tree, key=lambda session: len(session.ancestors)):
        family = (one for one in now.values() if family_of(one) == session.parent)
        parent = newest_of(family)
        if parent is None:
            continue
        same = Touched(None, None, session.last_seen_at, session.handle)
        touch = within_parent(same, parent, now[session.handle])
        if touch != same:
            _apply(now, touch)
            narrowed.append(touch)
    return narrowed


def decide_room_below(tree: Sequence[Session], now: datetime, policy: Policy) -> list[Expired]:
    """The ends that make room for one more child in a tree: of what lapsed.

    Raises `SessionLimitReached`.
    """
    children = [session for session in tree if session.ancestors]
    ends = make_room(children, policy.max_children, "deny", now, "the login's tree")
    return [*decide_ends_below(tree, {end.token_handle for end in ends}, now), *ends]


def decide_end_family(
    tree: Sequence[Session], session: Session, now: datetime, cause: Cause
) -> list[Expired]:
    """The ends of all others of a session's family, and of all that is below it."""
    family = [one for one in tree if family_of(one) == family_of(session)]
    ended = {session.handle, *(one.handle for one in family)}
    below = decide_ends_below(tree, ended, now)
    return [*below, *decide_end_all(family, session.handle, now, cause)]


def decide_ends_below(
    tree: Iterable[Session], ended: Collection[str], now: datetime
) -> list[Expired]:
    """The ends of those that some are below of whose family nobody is left.

    tree: all active sessions of some trees. ended: the handles of those that are about to end.
    """
    left = [session for session in tree if session.handle not in ended]
    families = {family_of(session) for session in left}
    return [
        end_of(session, now, "parent_ended")
        for session in left
        if any(ancestor.family not in families for ancestor in session.ancestors)
    ]


def _apply(sessions: dict[Handle, Session], touch: Touched) -> None:
    handle = Handle(touch.token_handle)
    after = evolve(sessions.get(handle), touch)
    if isinstance(after, Session):
        sessions[handle] = after


def _check_attributes(attributes: Mapping[str, Any], allowed: Mapping[str, Any]) -> None:
    kept = _narrowed(attributes, allowed)
    if kept is not None:
        name = next(name for name, value in attributes.items() if kept.get(name, kept) is not value)
        # A name that is long enough to be a token is not repeated.
        shown = repr(name) if len(name) < SHORTEST_SECRET else "one of them"
        raise InvalidSession("attributes", f"must be the parent's, or fewer: {shown} is not")


def _narrowed(attributes: Mapping[str, Any], allowed: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the parent's attributes allow of others; None where that is all of them."""
    kept: dict[str, Any] = {}
    for name, value in attributes.items():
        if name == SCOPE and isinstance(value, str) and isinstance(allowed.get(name), str):
            kept[name] = _words(value, allowed[name])
        elif name in allowed and canonical.encode(value) == canonical.encode(allowed[name]):
            kept[name] = value
    return None if kept == attributes else kept


def _words(scope: str, allowed: str) -> str:
    """The words of a scope that are allowed; the scope as it is where all are."""
    words, known = scope.split(), set(allowed.split())
    return scope if known.issuperset(words) else " ".join(word for word in words if word in known)
