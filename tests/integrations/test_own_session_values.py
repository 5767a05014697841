"""Which changes within the data of a session are found, and against what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.sessions import session_json_serializer as tagged

from sessionledger import Policy, SessionStore
from sessionledger.integrations.own_session.dictionary import SessionDict
from sessionledger.integrations.own_session.values import JSON, Format, Serializer

FLASK = Serializer(tagged.dumps, tagged.loads, "json")
DATA: dict[str, Any] = {
    "n": 1,
    "list": [1],
    "deep": {"b": [1], "a": 2},
    " t": {" t": 1},
    "big": 2**70,
}


def read(form: Format, data: dict[str, Any]) -> SessionDict:
    """The data as a later request reads it."""
    with SessionStore.open("memory:") as store:
        return form.fill(SessionDict(), store.create("alice", attributes=form.attributes(data)))


@pytest.mark.parametrize("serializer", [JSON, FLASK], ids=["values", "json"])
@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda data: data["list"].append(2), "list"),
        (lambda data: data["deep"]["b"].clear(), "deep"),
        (lambda data: data["deep"].update(b=data["deep"].pop("b")), "deep"),
        (lambda data: data["deep"].update(a=2.0), "deep"),
        (lambda data: data.update(n=True), "n"),
        (lambda data: data.pop("n"), "n"),
    ],
)
def test_a_change_is_found(
    serializer: Serializer, change: Callable[[SessionDict], Any], name: str
) -> None:
    form = Format(serializer, Policy(), None)
    data = read(form, DATA)
    assert dict(data) == DATA
    assert form.changes(data) == {}
    change(data)
    assert form.changes(data).keys() == {name}


def test_values_of_other_types_are_compared_by_their_texts() -> None:
    form = Format(FLASK, Policy(), None)
    data = read(form, {"at": [b"bytes"], "pair": (1, 2), "mark": tagged.loads('{" m": "<b>"}')})
    assert form.changes(data) == {}
    data["at"].append(b"more")
    assert form.changes(data).keys() == {"at"}


def test_what_was_written_last_is_what_counts_later() -> None:
    form = Format(JSON, Policy(), None)
    data = read(form, {"n": 1})
    data["n"] = 2
    form.changes(data)  # the ledger was away
    data["n"] = 3
    form.attributes(data)
    assert data.session is not None
    kept = form.kept(data, data.session)
    kept["n"] = 2
    assert form.changes(kept) == {"n": [0, 2]}
