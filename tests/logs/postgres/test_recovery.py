"""A server is recovered to a point in time, at which ended sessions were live."""

from __future__ import annotations

from pathlib import Path

import pytest

from sessionledger import SessionStore, restore
from tests.postgres_server import (
    address,
    archiving,
    execute,
    recovered,
    schema,
    use_a_server_apart,
)

pytestmark = pytest.mark.middle


def test_nothing_is_revived_once_everybody_was_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_a_server_apart(monkeypatch, archive_mode="on")
    with archiving(), SessionStore.open(address(tmp_path)) as store:
        old = store.create("alice").token
        server = recovered()
        new = store.create("bob").token
        ((point,),) = execute("SELECT pg_create_restore_point('noon')::text")
        assert point
        store.expire(old)
        store.revoke_all("bob")
        lost = store.create("carol").token
        before = store.head()
        server.recover("noon")
    with SessionStore.open(server.address(schema(tmp_path))) as store:
        assert store.get(old) is not None, "what was acknowledged as ended is live"
        assert store.get(lost) is None
        store.backup(tmp_path / "recovered.backup")
        store.revoke_everybody(reason="recovered")
        assert store.get(old) is None
        assert store.get(new) is None
        assert store.verify().ok
        assert not store.verify(expect=str(before)).ok
    restore(tmp_path / "recovered.backup", server.address("restored"))
    with SessionStore.open(server.address("restored")) as store:
        assert store.get(old) is None
        assert store.get(new) is None
        assert store.head().id > before.id
