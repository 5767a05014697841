"""Criteria: which sessions one call ends, whosever they are.

1. A session is selected if it meets every criterion that is given. At least one must be given.
2. A time range holds its beginning and not its end. A rotation keeps the time a login began.
3. A superseded session lapses while its login goes on. Once it lapsed it selects nothing, and its
   last sighting is never taken for that of the login.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from sessionledger import canonical
from sessionledger.core.ends import CLOCK_TOLERANCE
from sessionledger.core.families import is_superseded
from sessionledger.core.instant import parse_instant, rfc3339
from sessionledger.core.parse import parse_attributes, parse_external_id, parse_principal
from sessionledger.core.policy import Policy
from sessionledger.core.session import Session
from sessionledger.errors import InvalidSession
from sessionledger.plain import as_text

if TYPE_CHECKING:  # few stores ever need it
    from ipaddress import IPv4Network, IPv6Network

MOST_PRINCIPALS = 1000


class Criteria(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Which sessions to end."""

    principals: tuple[str, ...] = ()
    external_id: str | None = None
    begun_before: datetime | None = None
    begun_after: datetime | None = None
    last_seen_before: datetime | None = None
    last_seen_after: datetime | None = None
    address_in: IPv4Network | IPv6Network | None = None
    attributes: dict[str, Any] = {}

    def select(self, session: Session, now: datetime) -> bool:
        """Whether a session that has no end of its own meets all criteria."""
        if is_superseded(session) and (
            self.last_seen_before is not None or now - session.expires_at > CLOCK_TOLERANCE
        ):
            return False
        return self.describes(session)

    def describes(self, session: Session) -> bool:
        """Whether a session meets all criteria, ended or not."""
        return (
            (not self.principals or session.principal in self.principals)
            and self.external_id in (None, session.external_id)
            and _within(session.created_at, self.begun_after, self.begun_before)
            and _within(session.last_seen_at, self.last_seen_after, self.last_seen_before)
            and (self.address_in is None or _lies_in(session, self.address_in))
            and all(_has(session, name, value) for name, value in self.attributes.items())
        )

    def encode(self, counted: int, now: datetime) -> bytes:
        """The payload of the event that tells them, and how many logins met them."""
        criteria = msgspec.to_builtins(self, enc_hook=str)
        told = {"counted": counted, "criteria": criteria, "revoked_at": rfc3339(now)}
        return canonical.encode(told)


def parse_criteria(given: Mapping[str, object], policy: Policy) -> Criteria:
    """The criteria by their names, None where one is not given. Raises `InvalidSession`."""
    parsed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if not parsed:
        raise InvalidSession("criteria", "must hold at least one: revoke_everybody ends all")
    for name, value in parsed.items():
        if name == "principals":
            parsed[name] = _principals(value, policy)
        elif name == "external_id":
            parsed[name] = parse_external_id(value, policy)
        elif name == "address_in":
            parsed[name] = _network(value)
        elif name == "attributes":
            parsed[name] = canonical.decode_object(parse_attributes(value, policy) or b"{}")
            if not parsed[name]:
                raise InvalidSession(name, "must hold at least one name and its value")
        else:
            parsed[name] = parse_instant(name, value)
    return Criteria(**parsed)


def _principals(given: object, policy: Policy) -> tuple[str, ...]:
    # One name is meant as one, and not as its letters.
    names = given if isinstance(given, Iterable) and as_text(given) is None else [given]
    parsed = tuple(dict.fromkeys(parse_principal(name, policy) for name in names))
    if not 1 <= len(parsed) <= MOST_PRINCIPALS:
        raise InvalidSession("principals", f"must be 1 to {MOST_PRINCIPALS}, got {len(parsed)}")
    return parsed


def _network(given: object) -> IPv4Network | IPv6Network:
    from ipaddress import ip_network

    try:
        return ip_network(str(given))
    except ValueError:
        pass
    raise InvalidSession("address_in", "must be a network without host bits, as 192.0.2.0/24 is")


def _within(instant: datetime, after: datetime | None, before: datetime | None) -> bool:
    return (after is None or instant >= after) and (before is None or instant < before)


def _lies_in(session: Session, network: IPv4Network | IPv6Network) -> bool:
    """Whether the address that the integrations keep in the context lies in a network."""
    from ipaddress import ip_address

    try:
        address = ip_address(session.context.get("address", ""))
    except ValueError:
        return False
    # A server that listens on both families tells an IPv4 address so.
    return (getattr(address, "ipv4_mapped", None) or address) in network


def _has(session: Session, name: str, value: Any) -> bool:
    attributes = session.attributes
    return name in attributes and canonical.encode(attributes[name]) == canonical.encode(value)
