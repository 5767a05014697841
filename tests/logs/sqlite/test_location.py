"""A ledger's file that is removed, renamed or replaced while it is open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sessionledger import LogUnavailable, SessionStore


def remove(path: Path) -> None:
    for file in path.parent.glob(path.name + "*"):
        file.unlink()


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    other = path.with_name("other.db")
    SessionStore.open(f"sqlite:///{other}").close()
    other.rename(path)


@pytest.mark.parametrize("change", [remove, rename, replace])
def test_nothing_is_acknowledged_that_nobody_finds(
    tmp_path: Path, change: Callable[[Path], None]
) -> None:
    path = tmp_path / "ledger.db"
    with SessionStore.open(f"sqlite:///{path}") as store:
        store.create("alice")
        change(path)
        for _ in range(2):
            with pytest.raises(LogUnavailable, match="removed or replaced"):
                store.create("bob")


def test_a_file_that_is_put_back_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with SessionStore.open(f"sqlite:///{path}") as store:
        store.create("alice")
        rename(path)
        with pytest.raises(LogUnavailable, match="removed or replaced"):
            store.create("bob")
        path.with_name("elsewhere").rename(path)
        store.create("carol")
        assert store.count() == 2
        assert store.verify().ok
