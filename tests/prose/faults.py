"""What readers stumble over: sentences that are too long, and words that nobody uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.prose.sentences import paragraphs_of, sentences_in, words_in

MOST_WORDS = 25

# A word, and what to write instead.
BANNED = {
    r"anew": "again",
    r"whence": "where … from",
    r"hitherto|(?:there|where|here)(?:of|in|to|upon|with|from|by)": "this, that, by which",
    r"such as (?:is|are)": "the … that",
    r"(?<!there )(?:is|are|was|were|be) (?-i:none)": "is not a …, or there is no …",
    r"as (?:it|they) stands?": "the current …",
    r"than nothing": "positive, or not negative",
    r"of ours": "our",
    r"of one's own": "your own",
    r"(?:for|to|by|from|with|than) who": "for users who, to callers who",
    r"to be had": "available",
    r"says? nothing of": "does not mention",
    r"tells? (?:the same )?of": "reports, lists",
    r"(?:is|are|be) spared": "is avoided",
}
_BANNED = re.compile(rf"\b(?:{'|'.join(f'(?:{word})' for word in BANNED)})\b", re.IGNORECASE)


class Fault(NamedTuple):
    """Where it stands, its kind, and the words."""

    line: int
    kind: str
    text: str


def faults_of(path: Path) -> Iterator[Fault]:
    """The faults of a page or a module."""
    for line, text in paragraphs_of(path):
        for sentence in sentences_in(text):
            if (count := words_in(sentence)) > MOST_WORDS:
                yield Fault(line, "long", f"{count} words: {sentence}")
        for found in _BANNED.finditer(text):
            yield Fault(line, "banned", f'"{found[0]}": write {_instead_of(found[0])}')


def _instead_of(said: str) -> str:
    return next(use for word, use in BANNED.items() if re.fullmatch(word, said, re.IGNORECASE))
