"""The sentences of a page or a module: what is read, without code and markup."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

FENCE = re.compile(r"^\s*(```|~~~)")
ITEM = re.compile(r"^\s*([-*+]|\d+[.)])\s+")
RULE = re.compile(r"^[\s|:=-]+$")
DIRECTIVE = re.compile(r"\b(noqa|type: ignore|pragma:|fmt:|ruff:)|^!")
SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|DELETE|CREATE|WHERE|PRAGMA|LANGUAGE)\b")

# An end, what may close behind it, white space; what an abbreviation ends with is no end.
END = re.compile(r"([.!?])([\"')\]*_”]*)\s+")
ABBREVIATION = re.compile(
    r"(?:^|[\s(])(?:e\.g|i\.e|cf|vs|approx|resp|Dr|Mr|Ms|St|No|p|pp|[A-Z])\.$"
)
ABBREVIATION_INSIDE = re.compile(r"(?:^|[\s(])etc\.$")


class Paragraph(NamedTuple):
    """A text that no sentence crosses the ends of, and the line that it begins at."""

    line: int
    text: str


def paragraphs_of(path: Path) -> list[Paragraph]:
    """The paragraphs of a page, or the docstrings, comments and texts of a module."""
    text = path.read_text()
    return list(of_python(text) if path.suffix == ".py" else of_markdown(text))


def of_markdown(text: str, first: int = 1) -> Iterator[Paragraph]:
    """Each paragraph, heading, item of a list and cell of a table; no block of code."""
    waiting: list[str] = []
    start, fenced, indented, listed = first, False, False, False

    def gathered() -> Iterator[Paragraph]:
        if waiting:
            yield Paragraph(start, plain(" ".join(waiting)))
        waiting.clear()

    for number, line in enumerate(text.splitlines(), start=first):
        if FENCE.match(line):
            yield from gathered()
            fenced = not fenced
        elif fenced or line.lstrip().startswith("<!--"):
            continue
        elif not line.strip():
            yield from gathered()
            indented = True
        elif indented and not listed and line.startswith("    "):
            continue
        elif line.startswith(("#", "|")) or RULE.match(line):
            yield from gathered()
            cells = [] if RULE.match(line) else line.strip("#| ").split(" | ")
            yield from (Paragraph(number, plain(cell)) for cell in cells)
            indented, listed = False, False
        else:
            if item := ITEM.match(line):
                yield from gathered()
                listed = True
            elif not waiting and not line.startswith(" "):
                listed = False
            start = start if waiting else number
            waiting.append(line[item.end() :] if item else line.lstrip(" >"))
            indented = False
    yield from gathered()


def of_python(source: str) -> Iterator[Paragraph]:
    """The docstrings, the comments, and the texts that somebody may be shown."""
    tree = ast.parse(source)
    docstrings: set[ast.Constant] = set()
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                docstrings.add(child.value)
                if isinstance(child.value.value, str):
                    margin = re.compile(rf"^ {{{child.col_offset}}}", re.MULTILINE)
                    yield from of_markdown(margin.sub("", child.value.value), child.lineno)
    yield from _comments(source)
    yield from _texts(tree, docstrings)


def _comments(source: str) -> Iterator[Paragraph]:
    """Comments; those on lines of their own that follow one another are one."""
    waiting: list[str] = []
    start, following = 0, (0, 0)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type != tokenize.COMMENT or DIRECTIVE.search(token.string):
            continue
        own = token.line.lstrip().startswith("#")
        if waiting and (not own or token.start != following):
            yield from of_markdown("\n".join(waiting), start)
            waiting.clear()
        start = start if waiting else token.start[0]
        waiting.append(token.string.lstrip("#: "))
        following = (token.start[0] + 1, token.start[1]) if own else (0, 0)
    yield from of_markdown("\n".join(waiting), start)


def _texts(tree: ast.AST, docstrings: set[ast.Constant]) -> Iterator[Paragraph]:
    """What is said in messages: strings of several words that are no SQL."""
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            inside.update(node.values)
            parts = [v.value if isinstance(v, ast.Constant) else "X" for v in node.values]
        elif isinstance(node, ast.Constant) and node not in docstrings | inside:
            parts = [node.value]
        else:
            continue
        text = "".join(part for part in parts if isinstance(part, str))
        if len(text.split()) > 3 and not SQL.search(text):
            yield from of_markdown(re.sub(r"\n +", "\n", text), node.lineno)


def plain(text: str) -> str:
    """Text without its markup: a link is its words, and code is one word."""
    text = re.sub(r"(`+).+?\1", "CODE", text)
    text = re.sub(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])?", r"\1", text)
    return re.sub(r"\s+", " ", text.replace("**", "")).strip()


def sentences_in(text: str) -> list[str]:
    """The sentences of a paragraph."""
    found, start = [], 0
    for end in END.finditer(text):
        before, after = text[: end.end(1)], text[end.end() :]
        inside = ABBREVIATION_INSIDE.search(before) and not after[:1].isupper()
        if not inside and not ABBREVIATION.search(before):
            found.append(text[start : end.end()].strip())
            start = end.end()
    return [*found, text[start:].strip()] if text[start:].strip() else found


def words_in(sentence: str) -> int:
    """How many words there are; a sign alone is none."""
    return sum(any(c.isalnum() for c in word) for word in sentence.split())
