"""The algorithm of compaction, over all small histories: see `model.py`.

What was walked, without a fault, on one shared core:

- one key to five events: 7,430 histories, 1,835,226 states, 2 minutes;
- two keys to three units: 1,252 histories, 484,227 states, 4 minutes;
- one key to three events under two compactions: 320 histories, 1,907,849 states, 9 minutes;
- rotation pairs to three units under two compactions: 88 histories, 2,594,854 states, 4 minutes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from itertools import product

import pytest

from tests.logs.compaction.model import Fault, Rules, Search, Token

ONE_KEY = [(letter, 0) for letter in "CTEDMxKS"]
TWO_KEYS = [*((letter, 0) for letter in "CTEDMGRKS"), *((letter, 1) for letter in "CDTE")]
ALL_RULES = Rules()
TOKENS: tuple[Token, ...] = ("generated", "supplied")


def histories(
    letters: Sequence[tuple[str, int]], most: int
) -> Iterator[tuple[tuple[str, int], ...]]:
    for length in range(1, most + 1):
        yield from product(letters, repeat=length)


def search_one_key(most: int, rounds: int, rules: Rules = ALL_RULES) -> Search:
    """Every history of one key, with so many compactions after it."""
    search = Search(rules)
    for steps in histories(ONE_KEY, most):
        for token in TOKENS:
            search.from_history(steps, (token, "generated"), rounds)
    return search


def search_two_keys(most: int, rounds: int, rules: Rules = ALL_RULES, among: str = "") -> Search:
    """Every history of two keys; of those with one of some calls, if any is named."""
    search = Search(rules)
    for steps in histories(TWO_KEYS, most):
        if not {letter for letter, _ in steps} & set(among or "CDTEGR"):
            continue
        for tokens in product(TOKENS, repeat=2):
            search.from_history(steps, tokens, rounds)
    return search


def test_small_histories_of_one_key() -> None:
    search = search_one_key(2, 1)
    assert (search.histories, search.states) > (60, 6000)


@pytest.mark.middle
def test_small_histories_of_two_keys() -> None:
    assert search_two_keys(2, 1).histories > 100


@pytest.mark.slow
def test_a_second_compaction_after_each_first_one() -> None:
    assert search_one_key(1, 2).histories > 8
    assert search_two_keys(1, 2).states > 0


@pytest.mark.slow
def test_one_key_to_five_events() -> None:
    assert search_one_key(5, 1).histories > 5000


@pytest.mark.slow
def test_one_key_under_two_compactions() -> None:
    assert search_one_key(3, 2).histories > 300


@pytest.mark.slow
def test_two_keys_to_three_units() -> None:
    assert search_two_keys(3, 1).histories > 1000


@pytest.mark.slow
def test_rotation_pairs_under_two_compactions() -> None:
    assert search_two_keys(3, 2, among="GR").histories > 80


@pytest.mark.middle
@pytest.mark.parametrize("rule", [one.name for one in fields(Rules)])
def test_each_rule_is_needed(rule: str) -> None:
    without = Rules(**{rule: False})
    with pytest.raises(Fault):
        search_one_key(2, 1, without)
        search_one_key(1, 2, without)
        search_two_keys(2, 1, without)
