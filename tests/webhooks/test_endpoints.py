from __future__ import annotations

import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sessionledger.webhooks import endpoint_file, endpoints
from sessionledger.webhooks.endpoint_file import EndpointFile, is_locked_by_us
from sessionledger.webhooks.endpoints import (
    InvalidEndpoint,
    UnsafeFile,
    disabled,
    failed,
    new_endpoint,
    succeeded,
)
from tests.logs.file.disk_trace import Disk, recording

URL = "https://example.com/hook"
NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> EndpointFile:
    return EndpointFile(tmp_path / "webhooks")


def test_what_was_added_is_read_back_in_order(file: EndpointFile) -> None:
    added = [new_endpoint(URL), new_endpoint(URL, ["session.touched"], ["alice"])]
    for endpoint in added:
        file.add(endpoint)
    assert file.read() == tuple(added)
    assert len({endpoint.secret for endpoint in added}) == 2


def test_what_was_added_survives_a_loss_of_power(tmp_path: Path) -> None:
    """As the name of the file does; the test of other changes is that of the file log."""
    with recording(tmp_path) as trace:
        EndpointFile(tmp_path / "webhooks").add(new_endpoint(URL))
    disk = Disk()
    for step in trace.steps:
        disk.take(step)
    disk.put_down(tmp_path / "image", lambda step: False)
    assert (tmp_path / "image" / "webhooks").exists()


def test_only_the_owner_may_read_it(file: EndpointFile) -> None:
    before = os.umask(0)
    try:
        file.add(new_endpoint(URL))
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in file.path.parent.iterdir()}
    assert modes == {0o600}


def test_a_file_that_others_may_read_is_not_believed(file: EndpointFile) -> None:
    file.add(new_endpoint(URL))
    file.path.chmod(0o640)
    with pytest.raises(UnsafeFile, match="0640"):
        file.read()
    with pytest.raises(UnsafeFile):
        file.add(new_endpoint(URL))


@pytest.mark.parametrize("content", [b"", b"{}", b'[{"id":1}]', b"\xff"])
def test_a_file_that_holds_something_else_is_refused_and_stays(
    file: EndpointFile, content: bytes
) -> None:
    file.path.write_bytes(content)
    file.path.chmod(0o600)
    with pytest.raises(UnsafeFile):
        file.add(new_endpoint(URL))
    assert file.path.read_bytes() == content


def test_a_link_is_not_followed(file: EndpointFile, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"[]")
    file.path.symlink_to(other)
    with pytest.raises(UnsafeFile):
        file.read()


def test_no_secret_is_in_a_repr() -> None:
    endpoint = new_endpoint("https://example.com/a-path-that-is-a-secret")
    assert endpoint.secret not in repr(endpoint)
    assert "path" not in repr(endpoint)


def test_it_is_removed_and_changed_by_its_id(file: EndpointFile) -> None:
    one, other = new_endpoint(URL), new_endpoint(URL)
    file.add(one)
    file.add(other)
    assert file.record(one.id, lambda found: disabled(failed(found, "answered 500"), NOW))
    assert file.remove(other.id)
    assert not file.remove(other.id)
    (found,) = file.read()
    assert (found.failures, found.problem, found.disabled_at) == (1, "answered 500", NOW)
    assert file.record(one.id, succeeded)
    assert file.read() == (one,)


def test_there_are_only_so_many(file: EndpointFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "MAX_ENDPOINTS", 2)
    file.add(new_endpoint(URL))
    file.add(new_endpoint(URL))
    with pytest.raises(InvalidEndpoint, match="2 endpoints"):
        file.add(new_endpoint(URL))


def test_changes_at_the_same_time_are_all_kept(file: EndpointFile) -> None:
    endpoint = new_endpoint(URL)
    file.add(endpoint)

    def fail() -> None:
        for _ in range(20):
            file.record(endpoint.id, lambda found: failed(found, "?"))

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert file.read()[0].failures == 80


@pytest.mark.parametrize(
    "url",
    [
        *("", "example.com", "ftp://example.com/", "https://", "https:///x", "file:///etc/passwd"),
        *("https://user:pass@example.com/", "https://example.com/ x", "https://example.com/\n"),
        *("https://example.com:x/", "https://exämple.com/", "https://[::1/", "https://a/#b"),
    ],
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InvalidEndpoint):
        new_endpoint(url)


def test_what_is_private_must_be_allowed_by_its_name() -> None:
    with pytest.raises(InvalidEndpoint, match="https"):
        new_endpoint("http://localhost/x")
    with pytest.raises(InvalidEndpoint, match="localhost"):
        new_endpoint("http://localhost/x", allow="example.com")
    assert new_endpoint("http://LocalHost/x", allow="localhost").allowed
    assert not new_endpoint(URL).allowed


def test_a_type_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidEndpoint, match="'session_created'"):
        new_endpoint(URL, ["session_created"])


def test_it_wants_its_types_and_principals() -> None:
    endpoint = new_endpoint(URL, ["session.expired"], ["alice", "bob"])
    assert endpoint.wants("session.expired", "bob")
    assert not endpoint.wants("session.created", "bob")
    assert not endpoint.wants("session.expired", "carol")
    assert not endpoint.wants("session.expired", None)
    assert new_endpoint(URL).wants("session.created", None)


def test_a_change_that_another_process_keeps_back_is_given_up(
    file: EndpointFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.add(new_endpoint(URL))
    before = file.read()
    monkeypatch.setattr(endpoint_file, "PATIENCE_SECONDS", 0.05)
    held = file.open_beside("-lock")
    assert is_locked_by_us(held)
    with pytest.raises(UnsafeFile, match=f"process {os.getpid()} .* is still changing"):
        file.add(new_endpoint(URL))
    assert file.read() == before
    os.close(held)
    file.add(new_endpoint(URL))
    assert len(file.read()) == 2
