"""A file that may not grow, without mounting anything."""

from __future__ import annotations

from pathlib import Path

from sessionledger import SessionStore
from tests.logs.children import run

# This process may not let a file grow beyond a size.
LIMITED = """
import resource, sys
from sessionledger import LogUnavailable, SessionStore

with SessionStore.open(sys.argv[1]) as store:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    tokens = []
    try:
        while len(tokens) < 10_000:
            tokens.append(store.create("alice", attributes={"note": "x" * 2000}).token)
    except LogUnavailable as error:
        print(error)
    assert all(store.get(token) for token in tokens)
    assert store.count() == len(tokens), (store.count(), len(tokens))
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    tokens.append(store.create("bob").token)
    assert store.count() == len(tokens)
    assert store.verify().ok
print(*tokens)
"""


def test_a_file_that_may_not_grow_loses_nothing_and_recovers(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/ledger"
    message, tokens = run(LIMITED, url).splitlines()
    assert str(tmp_path / "ledger") in message
    assert "may not grow" in message
    with SessionStore.open(url) as store:
        assert tokens
        assert all(store.get(token) for token in tokens.split())
        assert store.count() == store.verify().events == len(tokens.split())
        assert store.create("carol")
