"""The replay itself: what it prints, and that it can fail."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parity.__main__ import main
from tests.parity.backends import BACKENDS, COLOURS
from tests.parity.check import omissions, replays_of_log
from tests.parity.recorded import Object, Recording, WrittenLog

DATA = Path(__file__).parents[1] / "data/parity"


@pytest.fixture(scope="module")
def traces() -> list[Object]:
    with gzip.open(DATA / "traces.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def write_traces(folder: Path, traces: list[Object]) -> Path:
    folder.mkdir(exist_ok=True)
    lines = (json.dumps(trace) + "\n" for trace in traces)
    (folder / "traces.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


def trace_named(traces: list[Object], seed: str) -> Object:
    copy: Object = json.loads(json.dumps(next(t for t in traces if t["seed"] == seed)))
    return copy


def test_what_is_as_recorded_passes(
    tmp_path: Path, traces: list[Object], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_traces(tmp_path, [trace_named(traces, "special:create_check_order")])

    assert main([str(folder)]) == 0

    expected = len(BACKENDS) * len(COLOURS)
    assert capsys.readouterr().out == f"{expected} passed, 0 failed\n"


def wrong_time(results: list[Object]) -> str:
    results[1]["ok"]["created_at"] = "2026-01-01T01:00:00+01:00"
    return 'command 2, create: answer.ok.created_at: expected "2026-01-01T01:00:00+01:00", got'


def wrong_number_type(results: list[Object]) -> str:
    results[1]["ok"]["attributes"]["b"] = 1.0
    return "command 2, create: answer.ok.attributes.b: expected 1.0, got 1"


def wrong_sign_of_zero(results: list[Object]) -> str:
    results[2]["ok"]["attributes"]["a"]["z"] = 0.0
    return "command 3, get: answer.ok.attributes.a.z: expected 0.0, got -0.0"


def wrong_token(results: list[Object]) -> str:
    results[1]["ok"]["id"] = "sess_another_0123456789abcdefghijkl"
    return "command 2, create: answer.ok.id: expected the session's token, got something else"


def wrong_kind_of_answer(results: list[Object]) -> str:
    results[1] = {"err": {"kind": "Invalid", "message": "no"}}
    return 'command 2, create: answer: expected {"err": {"kind": "Invalid"}}, got {"ok": '


def wrong_header(results: list[Object]) -> str:
    results[3]["ok"][0]["headers"]["harn.provenance.schema"] = "v2"
    return 'answer.ok[0].headers.harn.provenance.schema: expected "v2", got "harn'


def missing_header(results: list[Object]) -> str:
    results[3]["ok"][0]["headers"]["harn.provenance.prev_hash"] = "<generated>"
    return "command 4, events: answer.ok[0].headers: expected"


@pytest.mark.parametrize(
    "tamper",
    [
        wrong_time,
        wrong_number_type,
        wrong_sign_of_zero,
        wrong_token,
        wrong_kind_of_answer,
        wrong_header,
        missing_header,
    ],
)
def test_a_tampered_recording_fails(
    tamper: Callable[[list[Object]], str],
    tmp_path: Path,
    traces: list[Object],
    capsys: pytest.CaptureFixture[str],
) -> None:
    trace = trace_named(traces, "special:attributes_key_order_and_numbers")
    complaint = tamper(trace["results"])

    assert main([str(write_traces(tmp_path, [trace]))]) == 1

    *lines, last = capsys.readouterr().out.splitlines()
    assert last == f"0 passed, {len(lines)} failed"
    assert len(lines) == len(BACKENDS) * len(COLOURS)
    assert all(complaint in line for line in lines), lines
    assert not any(trace["commands"][1]["id"] in line for line in lines)


def test_a_generated_token_must_stay_the_same(tmp_path: Path, traces: list[Object]) -> None:
    trace = trace_named(traces, "special:generated_id_and_now")
    trace["results"][2]["ok"]["created_at"] = "<generated:g1:handle>"

    assert main([str(write_traces(tmp_path, [trace]))]) == 1


def test_a_flipped_byte_in_a_log_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs/flipped"
    shutil.copytree(DATA / "logs/17-sqlite-seed23", folder)
    (folder / "expected.jsonl").write_text("", encoding="utf-8")
    flip(folder / "log/log.sqlite", b'"principal":"user-2"')

    assert main([str(tmp_path)]) == 1

    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "0 passed, 2 failed"
    assert all("its content does not match its hash" in line for line in lines[:-1])


def flip(path: Path, text: bytes) -> None:
    content = path.read_bytes()
    assert text in content
    path.write_bytes(content.replace(text, text[:-2] + b'3"'))


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({}, "is not parity data: it has no traces.jsonl.gz or traces.jsonl"),
        ({"traces.jsonl": ""}, "holds no sequence"),
        ({"traces.jsonl": "{\n"}, "traces.jsonl, line 1 is no recording: JSONDecodeError"),
        ({"traces.jsonl": '{"seed": 1}\n'}, "line 1 is no recording: lacks 'commands'"),
        ({"traces.jsonl.gz": "no gzip"}, "can't be read"),
        ({"logs/a/meta.json": "{}"}, "meta.json lacks 'open'"),
        (
            {"traces.jsonl": '{"seed":1,"log":"file","commands":[{}],"results":[]}'},
            "line 1 is no recording: ValueError",
        ),
    ],
)
def test_other_folders_are_refused(
    files: dict[str, str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")

    assert main([str(tmp_path)]) == 2

    captured = capsys.readouterr()
    assert complaint in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["/nonexistent"]])
def test_anything_but_one_folder_is_refused(arguments: list[str]) -> None:
    assert main(arguments) == 2


def test_a_log_without_an_opener_is_said_to_be_left_out() -> None:
    written = WrittenLog("logs/a", "stone", DATA, "log", "t", [])

    assert list(omissions(Recording([], [written]))) == [
        "not replayed: logs/a: there is no stone log to open it"
    ]
    assert list(replays_of_log(written)) == []
