"""A row with bytes that can't be read fails closed, for its own session alone."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from sessionledger import CorruptLog, DuplicateSession, IssuedSession, Policy, SessionStore

HARMED = {
    "not UTF-8": (b"Oslo", b"O\xb5lo"),
    "not JSON": (b"Oslo", b'O"lo'),
    "cut off": (b"Oslo", b""),
    "another type": (b'"Oslo"', b"Oslo"),
}


def harm(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes of the row that holds them."""
    with apsw.Connection(str(path)) as connection:
        ((rowid, state),) = connection.execute(
            "SELECT rowid, CAST(state AS BLOB) FROM ledger_rows WHERE instr(state, 'Oslo')"
        )
        harmed = state.replace(old, new) if new else state[: state.index(old)]
        connection.execute("UPDATE ledger_rows SET state = ? WHERE rowid = ?", (harmed, rowid))


def store_with_damage(tmp_path: Path, how: str) -> tuple[SessionStore, IssuedSession, list[str]]:
    """A store of alice's damaged session and two others of hers; the errors it reports."""
    url, told = f"sqlite:///{tmp_path}/ledger.db", list[str]()
    with SessionStore.open(url) as store:
        damaged = store.create("alice", attributes={"city": "Oslo"})
        store.create("alice")
        store.create("alice")
    harm(tmp_path / "ledger.db", *HARMED[how])
    policy = Policy(max_sessions_per_principal=2, on_limit="evict_oldest")
    opened = SessionStore.open(url, policy=policy, on_error=lambda error: told.append(error.code))
    return opened, damaged, told


@pytest.mark.parametrize("how", HARMED)
def test_reads_of_a_damaged_row_raise_our_error(tmp_path: Path, how: str) -> None:
    store, damaged, _ = store_with_damage(tmp_path, how)
    with store:
        for call in (store.get, store.authenticate, store.touch):
            with pytest.raises(CorruptLog, match="sessionledger rebuild"):
                call(damaged.token)
        with pytest.raises(DuplicateSession):
            store.create("alice", token=damaged.token)


@pytest.mark.parametrize("how", HARMED)
def test_a_listing_shows_the_others_and_reports_the_damaged_row(tmp_path: Path, how: str) -> None:
    store, damaged, told = store_with_damage(tmp_path, how)
    with store:
        listed = [one.handle for one in store.sessions(principal="alice")]
    assert len(listed) == 2
    assert damaged.handle not in listed
    assert told == ["corrupt_log"]


@pytest.mark.parametrize("how", HARMED)
def test_a_damaged_session_can_be_revoked_and_stays_ended(tmp_path: Path, how: str) -> None:
    store, damaged, _ = store_with_damage(tmp_path, how)
    with store:
        store.revoke(handle=damaged.handle)
        assert store.get(damaged.token) is None
        store.rebuild()
        assert store.get(damaged.token) is None
        assert list(store.history(handle=damaged.handle))[-1].cause == "revoked"


@pytest.mark.parametrize("how", HARMED)
def test_all_sessions_of_its_principal_can_be_revoked(tmp_path: Path, how: str) -> None:
    store, damaged, _ = store_with_damage(tmp_path, how)
    with store:
        assert store.revoke_all("alice") == 3
        assert list(store.sessions(principal="alice")) == []
        store.rebuild()
        assert store.get(damaged.token) is None


@pytest.mark.parametrize("how", HARMED)
def test_it_is_revoked_with_those_selected_only_if_its_principal_is_named(
    tmp_path: Path, how: str
) -> None:
    store, damaged, _ = store_with_damage(tmp_path, how)
    began = damaged.created_at
    with store:
        other = store.create("bob")
        assert store.revoke_where(principals=["bob"], begun_after=began, dry_run=True) == 1
        assert store.revoke_where(begun_after=began, dry_run=True) == 3
        assert store.revoke_where(attributes={"city": "Oslo"}) == 0
        assert store.revoke_where(begun_after=began) == 3
        assert store.get(other.token) is None
        assert store.count(principal="alice") == 1, "the damaged one, which answers nobody"
        assert store.revoke_where(principals=["alice"], begun_after=began) == 1
        store.rebuild()
        assert store.get(damaged.token) is None


@pytest.mark.parametrize("how", HARMED)
def test_a_log_in_within_a_limit_ends_it(tmp_path: Path, how: str) -> None:
    store, damaged, _ = store_with_damage(tmp_path, how)
    with store:
        assert store.get(store.create("alice").token) is not None
        assert store.get(damaged.token) is None


def test_the_doctor_names_it_and_a_rebuild_repairs_it(tmp_path: Path) -> None:
    store, damaged, _ = store_with_damage(tmp_path, "not UTF-8")
    with store:
        assert [finding.code for finding in store.diagnose()] == ["row_differs"]
        store.rebuild()
        found = store.get(damaged.token)
    assert found is not None
    assert found.attributes == {"city": "Oslo"}


@pytest.mark.parametrize("how", HARMED)
def test_the_ends_that_follow_a_mark_reach_it_and_the_others(tmp_path: Path, how: str) -> None:
    store, damaged, _ = store_with_damage(tmp_path, how)
    with store:
        store.revoke_everybody()
        assert store.sweep() == 3
        assert store.sweep() == 0
        store.rebuild()
        assert store.get(damaged.token) is None
        assert list(store.history(handle=damaged.handle))[-1].cause == "everybody"
