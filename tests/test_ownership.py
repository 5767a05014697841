"""Whose the files of a ledger are: other users of the machine play their part to the end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import apsw
import pytest

from sessionledger import LogUnavailable, SessionStore, diagnose, open_log, open_snapshot
from sessionledger.logs import file as _file  # noqa: F401  other users may not be able to import it
from sessionledger.logs import sqlite as _sqlite  # noqa: F401  nor this
from sessionledger.ownership import make_folder, owner_of, resolved
from sessionledger.webhooks.endpoint_file import endpoint_file
from sessionledger.webhooks.endpoints import UnsafeFile, new_endpoint
from tests.users import (
    FRIEND,
    GROUP,
    OWNER,
    STRANGER,
    as_user,
    folder_of,
    needs_root,
    owner_and_mode,
)

SQLITE_COMPANIONS = ("-lock", "-wal", "-shm", "-journal")


@pytest.fixture
def own() -> Iterator[Path]:
    """A folder of the ledger's owner."""
    with folder_of(OWNER) as folder:
        yield folder


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder in which everybody may put files, as /tmp is."""
    with folder_of(0, 0o1777) as folder:
        yield folder


def create(url: str, principal: str = "alice") -> str:
    with SessionStore.open(url) as store:
        return store.create(principal).token


def principals(url: str) -> list[str]:
    with SessionStore.open(url) as store:
        return sorted(session.principal for session in store.sessions())


def use(url: str, principal: str) -> list[str]:
    create(url, principal)
    return principals(url)


def put(path: Path, mode: int, content: bytes = b"") -> None:
    path.write_bytes(content)
    path.chmod(mode)


def urls(folder: Path) -> list[str]:
    return [f"sqlite:///{folder}/sessions.db", f"file://{folder}/events"]


# -- what somebody else has made beforehand


@needs_root
@pytest.mark.parametrize("mode", [0o666, 0o600, 0o644])
def test_a_lock_that_a_stranger_made_gives_nobody_the_ledger(public: Path, mode: int) -> None:
    path = public / "sessions.db"
    as_user(STRANGER, lambda: put(public / "sessions.db-lock", mode))
    for user in (OWNER, 0):
        said = as_user(user, partial(create, f"sqlite:///{path}"))
        assert "sessions.db-lock" in said
        assert "LogUnavailable" in said
    assert not path.exists()
    (public / "sessions.db-lock").unlink()
    as_user(OWNER, partial(create, f"sqlite:///{path}"))
    assert owner_and_mode(path) == (OWNER, 0o600)


def test_a_lock_of_ones_own_that_others_may_read_does_not_open_the_ledger(tmp_path: Path) -> None:
    put(tmp_path / "sessions.db-lock", 0o644)
    create(f"sqlite:///{tmp_path}/sessions.db")
    assert owner_and_mode(tmp_path / "sessions.db")[1] == 0o600


def test_a_lock_that_others_may_write_is_refused_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    put(tmp_path / "sessions.db-lock", 0o666)
    with pytest.raises(LogUnavailable, match=r"chmod 600 .*sessions\.db-lock"):
        create(f"sqlite:///{tmp_path}/sessions.db")


@needs_root
@pytest.mark.parametrize("mode", [0o666, 0o660, 0o606])
def test_an_empty_database_of_a_stranger_is_not_made_a_ledger(public: Path, mode: int) -> None:
    path = public / "sessions.db"
    as_user(STRANGER, lambda: put(path, mode))
    for user in (OWNER, 0):
        said = as_user(user, partial(create, f"sqlite:///{path}"), STRANGER)
        assert "is not used" in said
    assert path.read_bytes() == b""


@needs_root
@pytest.mark.parametrize("mode", [0o666, 0o662])
def test_a_ledger_that_everybody_may_write_is_refused(public: Path, mode: int) -> None:
    path = public / "sessions.db"
    as_user(STRANGER, lambda: create(f"sqlite:///{path}", "forged"))
    path.chmod(mode)
    for user in (OWNER, 0):
        said = as_user(user, lambda: principals(f"sqlite:///{path}"))
        assert f"chmod o-w {path}" in said


@needs_root
def test_a_folder_of_files_of_a_stranger_is_not_believed(public: Path) -> None:
    url = f"file://{public}/events"
    token = as_user(STRANGER, lambda: create(url, "forged"))
    shutil.copytree(public / "events", public / "copy")  # of root, who may lend it
    for path in [public / "events", *(public / "events").rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)

    def authenticate() -> object:
        with SessionStore.open(url) as store:
            return store.authenticate(token)

    assert "is not used" in as_user(OWNER, authenticate)


@needs_root
@pytest.mark.parametrize("ending", ["-wal", "-journal"])
def test_what_a_stranger_puts_beside_a_database_is_not_taken_into_it(
    public: Path, ending: str
) -> None:
    path, elsewhere = public / "sessions.db", public / "elsewhere"
    as_user(OWNER, partial(create, f"sqlite:///{path}"))
    before = path.read_bytes()
    forged = _changes(path, elsewhere, "delete" if ending == "-journal" else "wal")
    as_user(STRANGER, lambda: put(Path(f"{path}{ending}"), 0o666, forged))
    said = as_user(OWNER, lambda: principals(f"sqlite:///{path}"))
    assert f"sessions.db{ending} is not used" in said
    assert path.read_bytes() == before
    # That it would have been taken in, had nobody looked whose it is:
    os.chown(f"{path}{ending}", OWNER, -1)
    Path(f"{path}{ending}").chmod(0o600)
    as_user(OWNER, lambda: principals(f"sqlite:///{path}"))
    assert path.read_bytes() != before


def _changes(path: Path, elsewhere: Path, mode: str) -> bytes:
    """A journal that changes a database, made from a copy of it."""
    shutil.copy(path, elsewhere)
    connection = apsw.Connection(str(elsewhere))
    connection.pragma("journal_mode", "delete")
    if mode == "wal":
        connection.pragma("journal_mode", "wal")
    connection.execute("UPDATE events SET kind = 'forged'")
    if mode == "delete":
        # Such a journal holds what the pages were before.
        connection.execute("BEGIN; UPDATE events SET kind = 'another'")
        connection.cache_flush()
    text = Path(f"{elsewhere}-{'wal' if mode == 'wal' else 'journal'}").read_bytes()
    connection.close()
    return text


@needs_root
def test_endpoints_of_a_stranger_are_not_obeyed(public: Path) -> None:
    for url in urls(public):
        as_user(OWNER, partial(create, url))
    (public / "events").chmod(0o755)
    for ledger in (public / "sessions.db", public / "events"):
        file = endpoint_file(ledger)
        assert file is not None
        as_user(STRANGER, partial(put, file.path, 0o600, b"[]"))
        if not file.path.exists():
            continue  # nobody else may put one into the folder
        for user in (OWNER, 0):
            assert "UnsafeFile" in as_user(user, file.read)
            assert "UnsafeFile" in as_user(
                user, partial(file.add, new_endpoint("https://a.example"))
            )
        assert file.path.read_bytes() == b"[]"


@needs_root
def test_a_lock_of_the_endpoints_that_a_stranger_made_is_refused(public: Path) -> None:
    as_user(OWNER, lambda: create(f"sqlite:///{public}/sessions.db"))
    file = endpoint_file(public / "sessions.db")
    assert file is not None
    for ending in ("-lock", "-dispatcher"):
        as_user(STRANGER, partial(put, Path(f"{file.path}{ending}"), 0o666))
        with pytest.raises(UnsafeFile, match=ending):
            file.open_beside(ending)


@needs_root
def test_a_link_of_a_stranger_leads_nowhere(public: Path) -> None:
    path, target = public / "sessions.db", public / "target"
    as_user(OWNER, partial(create, f"sqlite:///{path}"))
    for ending in SQLITE_COMPANIONS:
        companion = Path(f"{path}{ending}")
        companion.unlink(missing_ok=True)
        as_user(STRANGER, partial(companion.symlink_to, target))
        said = as_user(OWNER, partial(create, f"sqlite:///{path}"))
        assert "LogUnavailable" in said
        assert str(companion) in said
        companion.unlink()
    assert not target.exists()


# -- root uses the ledger of another user


@needs_root
def test_what_root_writes_stays_the_owners(own: Path) -> None:
    for url in urls(own):
        as_user(OWNER, partial(create, url))
    for lock in (own / "sessions.db-lock", own / "events" / "ledger.lock"):
        lock.unlink()
    shutil.rmtree(own / "events" / "durable")
    for url in urls(own):
        create(url, "carol")
        log = open_log(url)
        log.ack("orchestrator.sessions", "mailer", 1)
        log.close()
    for path in own.rglob("*"):
        assert owner_and_mode(path) == (OWNER, 0o700 if path.is_dir() else 0o600), path
    for url in urls(own):
        assert "alice" in as_user(OWNER, partial(use, url, "bob"))


@needs_root
def test_the_owner_opens_what_root_has_open(own: Path) -> None:
    for url in urls(own):
        as_user(OWNER, partial(create, url))
        with SessionStore.open(url) as store:
            store.create("carol")
            assert "carol" in as_user(OWNER, partial(principals, url))


@needs_root
def test_endpoints_that_root_changes_stay_the_owners(own: Path) -> None:
    for url, ledger in zip(urls(own), (own / "sessions.db", own / "events"), strict=True):
        as_user(OWNER, partial(create, url))
        file = endpoint_file(ledger)
        assert file is not None
        file.add(new_endpoint("https://a.example"))
        as_user(OWNER, partial(file.add, new_endpoint("https://b.example")))
        file.add(new_endpoint("https://c.example"))
        assert as_user(OWNER, file.read).count("host=") == 3
        assert owner_and_mode(file.path) == (OWNER, 0o600)


@needs_root
def test_an_endpoint_file_without_a_ledger_stays_with_who_made_it(own: Path) -> None:
    file = endpoint_file(None, own / "endpoints")
    assert file is not None
    as_user(OWNER, partial(file.add, new_endpoint("https://a.example")))
    file.add(new_endpoint("https://b.example"))
    assert as_user(OWNER, file.read).count("host=") == 2
    assert "UnsafeFile" in as_user(STRANGER, file.read)


@needs_root
def test_a_companion_that_root_left_is_named_with_its_owner(own: Path) -> None:
    as_user(OWNER, lambda: create(f"sqlite:///{own}/sessions.db"))
    os.chown(own / "sessions.db-lock", 0, 0)
    said = as_user(OWNER, lambda: principals(f"sqlite:///{own}/sessions.db"))
    assert f"{own}/sessions.db-lock, which user 0 owns" in said


# -- a ledger that is shared by a group


@needs_root
def test_a_ledger_is_shared_by_its_group_and_nobody_else() -> None:
    with folder_of(OWNER, 0o2770, GROUP) as folder:
        path, url = folder / "sessions.db", f"sqlite:///{folder}/sessions.db"
        as_user(OWNER, lambda: create(url), GROUP)
        path.chmod(0o660)
        (folder / "sessions.db-lock").unlink()
        for user, name in ((FRIEND, "bob"), (OWNER, "carol"), (FRIEND, "dave")):
            assert "bob" in as_user(user, partial(use, url, name), GROUP)
        assert owner_and_mode(folder / "sessions.db-lock") == (FRIEND, 0o660)
        assert (folder / "sessions.db-lock").stat().st_gid == GROUP
        file = endpoint_file(path)
        assert file is not None
        for user in (FRIEND, OWNER, FRIEND):
            as_user(user, partial(file.add, new_endpoint("https://a.example")), GROUP)
        assert as_user(OWNER, file.read, GROUP).count("host=") == 3
        folder.chmod(0o2777)
        assert "LogUnavailable" in as_user(STRANGER, lambda: principals(url))


@needs_root
def test_a_folder_of_files_is_shared_by_its_group_and_nobody_else() -> None:
    with folder_of(OWNER, 0o2770, GROUP) as outer:
        folder, url = outer / "events", f"file://{outer}/events"
        folder.mkdir()
        os.chown(folder, OWNER, GROUP)
        folder.chmod(0o2770)
        for user, name in ((FRIEND, "bob"), (OWNER, "carol"), (FRIEND, "dave")):
            assert "bob" in as_user(user, partial(use, url, name), GROUP)
        outer.chmod(0o755)
        assert "LogUnavailable" in as_user(STRANGER, lambda: principals(url))


@needs_root
def test_a_diagnosis_tells_sharing_from_what_a_stranger_made() -> None:
    with folder_of(OWNER, 0o2770, GROUP) as folder:
        path, url = folder / "sessions.db", f"sqlite:///{folder}/sessions.db"
        as_user(OWNER, partial(create, url), GROUP)
        for file in folder.iterdir():
            file.chmod(0o660)
        assert {finding.code for finding in diagnose(url)} == {"shared_with_group"}
        put(folder / "sessions.db-journal", 0o600)
        os.chown(folder / "sessions.db-journal", STRANGER, STRANGER)
        worst, *others = diagnose(url)
        assert (worst.code, worst.subject) == ("of_another_owner", f"{path}-journal")
        assert {finding.code for finding in others} == {"shared_with_group"}
        path.chmod(0o600)
        assert {"open_to_others", "folder_open_to_others"} < {one.code for one in diagnose(url)}


# -- one ledger by several paths


@pytest.mark.parametrize("way", ["folder", "file", "dots", "relative"])
def test_one_ledger_has_its_companions_in_one_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "other" / "sessions.db").symlink_to(tmp_path / "data" / "sessions.db")
    (tmp_path / "other" / "events").symlink_to(tmp_path / "data" / "events")
    monkeypatch.chdir(tmp_path / "other")
    path = {
        "folder": str(tmp_path / "link"),
        "file": str(tmp_path / "other"),
        "dots": f"{tmp_path}/link/../other/../data",
        "relative": "../data",
    }[way]
    real = tmp_path / "data"
    for made, used in zip(urls(real), _urls(path), strict=True):
        token = create(made)
        with SessionStore.open(used) as store, SessionStore.open(made) as other:
            store.create("bob")
            assert other.count() == 2
            assert store.stats().log.location == other.stats().log.location
    for name in ("sessions.db", "events"):
        file = endpoint_file(Path(path) / name)
        assert file is not None
        assert file.path.parent == (real / "events" if name == "events" else real)
    assert token
    found = {p.name for p in (tmp_path / "other").iterdir()}
    assert found == {"sessions.db", "events"}


def _urls(path: str) -> list[str]:
    if path.startswith("/"):
        return urls(Path(path))
    return [f"sqlite:///{path}/sessions.db", f"file:{path}/events"]


def test_a_snapshot_by_a_link_sees_the_write_ahead_log(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "data" / "sessions.db")
    with SessionStore.open(f"sqlite:///{tmp_path}/data/sessions.db") as store:
        store.create("alice")
        log = open_snapshot(f"sqlite:///{tmp_path}/link.db")
        assert SessionStore(log).count() == 1
        log.close()


@pytest.mark.parametrize("opens", [open_log, open_snapshot])
def test_a_file_with_two_names_is_refused(tmp_path: Path, opens: object) -> None:
    create(f"sqlite:///{tmp_path}/sessions.db")
    (tmp_path / "other.db").hardlink_to(tmp_path / "sessions.db")
    for name in ("sessions.db", "other.db"):
        with pytest.raises(LogUnavailable, match="2 names"):
            opens(f"sqlite:///{tmp_path}/{name}")  # type: ignore[operator]


@contextmanager
def mounted(place: Path, at: Path) -> Iterator[None]:
    """A file or folder at a second path, by a bind mount: both paths are real."""
    if sys.platform != "linux" or subprocess.run(["mount", "--bind", place, at]).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", at], check=True)


@pytest.mark.parametrize("name", ["sqlite", "file"])
def test_a_ledger_is_one_at_both_paths_of_a_mounted_folder(tmp_path: Path, name: str) -> None:
    """Processes at either path take turns, and see what the other one wrote."""
    here, there = tmp_path / "data", tmp_path / "a second path"
    here.mkdir()
    there.mkdir()
    with mounted(here, there):
        one, other = (
            dict(zip(("sqlite", "file"), urls(at), strict=True))[name] for at in (here, there)
        )
        create(one, "begun")
        with ThreadPoolExecutor(2) as threads:
            work = [partial(as_user, 0, partial(many, url)) for url in (one, other)]
            told = [*threads.map(lambda call: call(), work)]
        assert told == ["20", "20"]
        with SessionStore.open(one) as store:
            assert store.verify().events == store.count() == 41
        with SessionStore.open(other) as store:
            assert store.verify().events == store.count() == 41
        assert diagnose(other) == []
        before = sorted(path.name for path in here.rglob("*"))
        assert sorted(path.name for path in there.rglob("*")) == before
    assert not [*there.iterdir()]


def many(url: str) -> int:
    """Create sessions, each by a store of its own, as short processes do."""
    for number in range(20):
        create(url, f"user {number}")
    return 20


@pytest.mark.parametrize("opens", [open_log, open_snapshot, diagnose])
def test_a_database_that_is_mounted_alone_is_refused(
    tmp_path: Path, opens: Callable[[str], object]
) -> None:
    create(f"sqlite:///{tmp_path}/sessions.db")
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / "sessions copy.db"
    other.touch()
    with mounted(tmp_path / "sessions.db", other):
        with pytest.raises(LogUnavailable, match="mounted alone"):
            opens(f"sqlite:///{other}")
        assert [path.name for path in other.parent.iterdir()] == [other.name]


@pytest.mark.parametrize("name", ["sqlite", "file"])
def test_a_ledger_in_an_overlay_is_one(tmp_path: Path, name: str) -> None:
    """As the root of a container may be, whose layers are on different file systems."""
    folders = {part: tmp_path / part for part in ("lower", "memory", "root")}
    for folder in folders.values():
        folder.mkdir()
    with layers(folders["lower"], folders["memory"], folders["root"]):
        url = dict(zip(("sqlite", "file"), urls(folders["root"]), strict=True))[name]
        create(url, "alice")
        create(url, "bob")
        assert [f for f in diagnose(url) if f.severity != "note"] == []


@contextmanager
def layers(lower: Path, memory: Path, at: Path) -> Iterator[None]:
    """An overlay whose upper layer is in memory."""
    parts = [memory / "upper", memory / "work"]
    told = f"lowerdir={lower},upperdir={parts[0]},workdir={parts[1]}"
    command: list[str | Path] = ["mount", "-t", "tmpfs", "tmpfs", memory]
    if sys.platform != "linux" or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        for part in parts:
            part.mkdir()
        if subprocess.run(["mount", "-t", "overlay", "overlay", "-o", told, at]).returncode:
            pytest.skip("overlays are not permitted here")
        try:
            yield
        finally:
            subprocess.run(["umount", "--lazy", at], check=True)
    finally:
        subprocess.run(["umount", "--lazy", memory], check=True)


def test_a_folder_inside_the_ledger_that_is_mounted_is_refused(tmp_path: Path) -> None:
    (tmp_path / "topics").mkdir()
    url = f"file://{tmp_path}/events"
    create(url)
    with mounted(tmp_path / "topics", tmp_path / "events" / "topics"):
        with pytest.raises(LogUnavailable, match="mounted alone"):
            create(url)
        assert not [*(tmp_path / "topics").iterdir()]


def test_a_folder_inside_the_ledger_that_lies_elsewhere_is_refused(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/events"
    create(url)
    (tmp_path / "events" / "topics").rename(tmp_path / "elsewhere")
    (tmp_path / "events" / "topics").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LogUnavailable, match="topics is a link"):
        create(url)


def test_a_topic_that_is_a_link_is_refused_and_stays(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/events"
    create(url)
    topic = tmp_path / "events" / "topics" / "orchestrator.sessions.jsonl"
    topic.rename(tmp_path / "elsewhere")
    topic.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(LogUnavailable, match="is a link"):
        create(url)
    assert topic.is_symlink()


def test_a_path_is_resolved_once(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "ledger")
    assert resolved(tmp_path / "link") == tmp_path / "ledger"
    assert resolved(tmp_path / "x" / ".." / "ledger") == tmp_path / "ledger"
    with pytest.raises(LogUnavailable, match="NUL"):
        resolved("a\0b")


def test_of_many_that_make_a_folder_at_one_moment_one_does(tmp_path: Path) -> None:
    owner = owner_of(tmp_path)
    together = threading.Barrier(8)
    with ThreadPoolExecutor(8) as threads:
        for number in range(30):

            def make(_: int, folder: Path = tmp_path / str(number)) -> bool:
                together.wait()
                return make_folder(folder, owner)

            assert sum(threads.map(make, range(8))) == 1


def test_a_ledger_that_is_not_there_will_be_that_of_this_process(tmp_path: Path) -> None:
    assert owner_of(tmp_path / "ledger") == (os.geteuid(), -1, 0o600)
