"""The data of a framework's own session as attributes, and what of it changed.

A name is stored as `[position, value]`. What canonical JSON would change (the order within a
dictionary, NaN, deep nesting) is stored as `[position, null, text]`, the text of the framework's
serializer. One that writes no JSON is always stored as its text. Positions keep names in their
order. Arrays are replaced whole by a patch, while objects would be merged.
"""

from __future__ import annotations

import json
import marshal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec

from sessionledger import InvalidSession, Policy, Session
from sessionledger.canonical import NotJSON, encode
from sessionledger.secrecy import without_tokens

_DEEPEST = 125
_PER_NAME, _PER_CHARACTER = 32, 3
_WITHOUT_REFERENCES = 2  # so equal values have equal bytes
_AROUND = 2  # levels around a value: the attributes, and the array

D = TypeVar("D", bound="Data")

Loaded: TypeAlias = dict[Any, Any]
Stored: TypeAlias = tuple[int, str, str | None]
"""Position and name, and the text of the serializer where there is one."""
Texts: TypeAlias = dict[str, tuple[int, str]]
"""By name: the position, and the serializer's text of the name and its value."""


class Serializer(NamedTuple):
    """What a framework writes the data of its sessions with.

    writes: `values` for JSON that says the same to everybody, `json` for JSON whose objects only
    `loads` understands, `text` for anything else.
    """

    dumps: Callable[[dict[Any, Any]], str]
    loads: Callable[[str], dict[Any, Any]]
    writes: Literal["values", "json", "text"]


JSON = Serializer(partial(json.dumps, separators=(",", ":")), json.loads, "values")


class Data(dict[str, Any]):
    """The data of a session. session: where it is stored, if it is.

    modified: whether a value may have been put in place of another.
    """

    modified = True

    def __init__(self, data: Mapping[str, Any] | tuple[()] = ()) -> None:
        super().__init__(data)
        self.session: Session | None = None
        self.written: Texts | None = None  # what is about to be stored
        self._texts: Texts | Callable[[], Texts] = {}
        self._before: bytes | None = None

    def keep(self, session: Session, texts: Texts | Callable[[], Texts]) -> None:
        """It is stored there as it is now, by texts that may be made when they are asked for."""
        self.session, self._texts = session, texts
        self._before = None if self.modified else self._image()

    @property
    def texts(self) -> Texts:
        """What is stored."""
        if not isinstance(self._texts, dict):
            self._texts = self._texts()
        return self._texts

    def is_untouched(self) -> bool:
        """Whether it surely is what is stored."""
        return not self.modified and self._before is not None and self._before == self._image()

    def _image(self) -> bytes | None:
        """Bytes that tell each value of Python's own types; None if there are others."""
        try:
            return marshal.dumps(dict(dict.items(self)), _WITHOUT_REFERENCES)
        except ValueError:
            return None


class Format:
    """How the data of one session is stored. key: the session's, which is never stored."""

    def __init__(self, serializer: Serializer, policy: Policy, key: str | None) -> None:
        self._serializer = serializer
        self._policy = policy
        self._key = key

    def fill(self, data: D, session: Session) -> D:
        """The data, with what the attributes of a session hold. What can't be read is left out."""
        stored, values = _stored(session)
        plain = msgspec.json.encode(values)  # whoever is given a value may change it
        for _, loaded in self._read(stored, values, plain):
            dict.update(data, loaded)
        data.keep(session, partial(self._texts_of, stored, plain))
        return data

    def kept(self, data: dict[str, Any], session: Session) -> Data:
        """The same data, after it was stored in the session."""
        kept = data if isinstance(data, Data) else Data(data)
        texts = self._texts(data) if kept.written is None else kept.written
        kept.written = None
        kept.keep(session, texts)
        return kept

    def check(self, data: Mapping[str, Any], added: Mapping[str, Any]) -> None:
        """Raises as `attributes` does for the data with what is added."""
        whole, limit = {**data, **added}, self._policy.max_attributes_bytes
        self.attributes(added)
        # As text in text, with its name beside it, JSON takes at most so much.
        most = _PER_NAME * len(whole) + _PER_CHARACTER * len(self._serializer.dumps(whole))
        if self._serializer.writes != "values" or most > (limit or most):
            self.attributes(whole)

    def attributes(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """All of the data. Raises `InvalidSession`, and what the serializer raises."""
        texts = self._texts(data)
        if isinstance(data, Data):
            data.written = texts
        attributes = {name: self._attribute(name, *stored) for name, stored in texts.items()}
        self._refuse_too_large(attributes)
        return attributes

    def changes(self, data: Data) -> dict[str, Any]:
        """The patch of what changed since it was read. Raises as `attributes` does."""
        if data.is_untouched():
            return {}
        texts = data.written = self._texts(data)
        changed = {n: self._attribute(n, *s) for n, s in texts.items() if data.texts.get(n) != s}
        return changed | dict.fromkeys(data.texts.keys() - texts.keys())

    def _texts(self, data: Mapping[str, Any]) -> Texts:
        known = data.texts if isinstance(data, Data) else {}
        texts, last = {}, -1
        for given, value in data.items():
            text = self._redacted(self._serializer.dumps({given: value}))
            name = given if isinstance(given, str) else json.dumps(given)
            at, _ = known.get(name, (-1, ""))
            last = at if at > last else last + 1
            texts[self._without_tokens(name)] = last, text
        return texts

    def _read(
        self, stored: Sequence[Stored], values: Sequence[Loaded], plain: bytes
    ) -> Iterator[tuple[Stored, Loaded]]:
        """Each name with its value. What can't be read is left out."""
        plainly = iter(self._values(values, plain))
        for one in stored:
            loaded = next(plainly) if one[2] is None else self._loaded(one[2])
            if loaded is not None:
                yield one, loaded

    def _values(self, values: Sequence[Loaded], plain: bytes) -> Sequence[Loaded | None]:
        if self._serializer.writes == "values" or plain.count(b"{") == len(values):
            return values
        with suppress(Exception):  # the serializer may be any
            together: Any = self._serializer.loads(plain.decode())
            return list(together)
        return [self._loaded(json.dumps(one)) for one in values]

    def _loaded(self, text: str) -> Loaded | None:
        with suppress(Exception):  # as frameworks do
            return self._serializer.loads(text)
        return None

    def _texts_of(self, stored: Sequence[Stored], plain: bytes) -> Texts:
        texts: Texts = {}
        values = msgspec.json.decode(plain)
        for (position, name, text), loaded in self._read(stored, values, plain):
            texts[name] = position, self._serializer.dumps(loaded) if text is None else text
        return texts

    def _without_tokens(self, text: str) -> str:
        kept = without_tokens(text)
        if self._key is not None and len(self._key) >= self._policy.min_token_chars:
            kept = kept.replace(self._key, "...")
        return kept

    def _redacted(self, text: str) -> str:
        """The text without tokens, which a user may have typed: none is ever stored."""
        kept = self._without_tokens(text)
        if kept != text:
            try:
                json.loads(text)
            except ValueError:
                raise InvalidSession(
                    "attributes", "must not hold a token, which only JSON can leave out"
                ) from None
        return kept

    def _attribute(self, name: str, position: int, text: str) -> list[Any]:
        if self._serializer.writes != "text":
            plain = json.loads(text)
            deepest = min(self._policy.max_attributes_depth or _DEEPEST, _DEEPEST) - _AROUND
            with suppress(NotJSON):
                # A tag may stand around the name, too.
                is_same = encode(plain, max_depth=deepest + 1).decode() == _compact(plain)
                if is_same and plain.keys() == {name}:
                    return [position, plain[name]]
        return [position, None, text]

    def _refuse_too_large(self, attributes: dict[str, Any]) -> None:
        limit = self._policy.max_attributes_bytes
        try:
            size = len(encode(attributes))
        except NotJSON as error:
            raise InvalidSession("attributes", str(error)) from None
        if limit is not None and size > limit:
            raise InvalidSession("attributes", f"take {size} bytes as JSON; {limit} fit")


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _stored(session: Session) -> tuple[list[Stored], list[Loaded]]:
    """What stands in the attributes, in order; and the values that no text says, each by itself."""
    stored: list[tuple[int, str, Any, str | None]] = []
    for name, attribute in session.attributes.items():
        match attribute:
            case [int() as position, value]:
                stored.append((position, name, value, None))
            case [int() as position, None, str() as text]:
                stored.append((position, name, None, text))
    stored.sort(key=lambda one: one[:2])
    values = [{name: value} for _, name, value, text in stored if text is None]
    return [(position, name, text) for position, name, _, text in stored], values
