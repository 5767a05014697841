"""Pages, docstrings, comments and messages are plain English: what is not yet, becomes less."""

from __future__ import annotations

from collections import Counter

from tests.prose.faults import faults_of
from tests.prose.ratchet import KINDS, RATCHET, ROOT, allowed, counted, lowered, raises
from tests.prose.sentences import of_markdown, of_python, sentences_in, words_in
from tests.ratchet_history import log_of, unexplained

# So many faults may be gone before the ratchet has to say so.
SLACK = 20


def test_no_file_has_more_faults_than_it_is_allowed() -> None:
    most = allowed()
    for name, count in counted().items():
        for kind in KINDS:
            faults = [f for f in faults_of(ROOT / name) if f.kind == kind]
            told = "".join(f"\n{name}:{fault.line}: {fault.text}" for fault in faults)
            limit = most.get(name, Counter())[kind]
            assert count[kind] <= limit, f"{name}: {count[kind]} {kind}, {limit} allowed:{told}"


def test_the_ratchet_follows_what_was_mended() -> None:
    before, now = allowed(), counted()
    slack = sum(sum(c.values()) for c in before.values()) - sum(
        sum(c.values()) for c in now.values()
    )
    assert slack <= SLACK, "`make ratchet` lowers the counts; commit them"


def test_no_commit_raises_the_ratchet_without_a_reason() -> None:
    assert unexplained(log_of(RATCHET), raises) == []


def a_log(said: str, *lines: str, mode: str = "index 1..2") -> str:
    return f"\0{said}\n\ndiff --git a/r b/r\n{mode}\n--- a/r\n+++ b/r\n" + "\n".join(lines)


def test_raising_is_noticed() -> None:
    assert unexplained(a_log("c1 Up", "-1 0 a.md", "+2 0 a.md"), raises) == ["c1"]
    assert unexplained(a_log("c1 Add", "+0 1 b.md"), raises) == ["c1"]
    assert unexplained(a_log("c1 Divide", "-3 0 a.md", "+2 0 b.md", "+2 0 c.md"), raises) == ["c1"]
    assert unexplained(a_log("c1 Swap", "-3 1 a.md", "+2 2 a.md"), raises) == ["c1"]


def test_lowering_moving_and_saying_why_are_no_raising() -> None:
    assert unexplained(a_log("c1 Down", "-2 1 a.md", "+1 1 a.md"), raises) == []
    assert unexplained(a_log("c1 Done", "-2 1 a.md"), raises) == []
    assert unexplained(a_log("c1 Divide", "-3 0 a.md", "+2 0 b.md", "+1 0 c.md"), raises) == []
    assert (
        unexplained(a_log("c1 Ban a word\n\nRatchet: a new word", "-3 0 a.md", "+3 1 a.md"), raises)
        == []
    )
    assert unexplained(a_log("c1 Begin", "+3 0 a.md", mode="new file mode 100644"), raises) == []


def test_moved_files_take_over_what_is_gone() -> None:
    before = {"a.md": Counter(long=2), "b.md": Counter(long=1, banned=1)}
    now = {"b.md": Counter(long=3), "c.md": Counter(long=1), "d.md": Counter(long=4, banned=1)}
    expected = {"b.md": Counter(long=1), "c.md": Counter(long=1), "d.md": Counter(long=1)}
    assert lowered(before, now) == expected


def sentences_of(text: str) -> list[str]:
    return [sentence for _, part in of_markdown(text) for sentence in sentences_in(part)]


def test_sentences_end_at_full_stops_and_with_their_paragraph() -> None:
    assert sentences_of("One. Two (`a.b`). Three?\n\nFour") == [
        "One.",
        "Two (CODE).",
        "Three?",
        "Four",
    ]
    assert sentences_of("He said “no.” Then e.g. this, i.e. that, at 3.5 s.") == [
        "He said “no.”",
        "Then e.g. this, i.e. that, at 3.5 s.",
    ]
    assert sentences_of("Cats, dogs, etc. are in. Cats, etc. Dogs.") == [
        "Cats, dogs, etc. are in.",
        "Cats, etc.",
        "Dogs.",
    ]


def test_items_cells_and_headings_are_apart() -> None:
    page = "# A b\nfirst\n- one\n  goes on\n- two\n\n| x | y z |\n| --- | :-: |\n| 1 | [k l](m) |"
    assert sentences_of(page) == ["A b", "first", "one goes on", "two", "x", "y z", "1", "k l"]


def test_code_is_no_prose() -> None:
    assert sentences_of("Before:\n\n```python\nno. prose.\n```\n\n    nor. this.\n\nAfter.") == [
        "Before:",
        "After.",
    ]


def test_docstrings_comments_and_messages_are_prose() -> None:
    module = '''
"""A module.

    its = "example"
"""
x = 1  # trailing one
# Two lines
# of one comment.
y = f"a message, with {x} in it"  # noqa: S608
z = "SELECT this and that FROM there"
'''
    assert sorted(text for _, text in of_python(module)) == [
        "A module.",
        "Two lines of one comment.",
        "a message, with X in it",
        "trailing one",
    ]


def test_words_are_what_has_letters_or_digits() -> None:
    assert words_in("The CODE — 2 × 3 = 6, isn't it?") == 7
