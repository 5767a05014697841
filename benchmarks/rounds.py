"""Interleaved rounds: every contender runs in each, so that ratios hold on noisy machines."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping

import msgspec


class Timing(msgspec.Struct, frozen=True):
    """Microseconds per operation, a figure a round."""

    rounds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    @property
    def best(self) -> float:
        return min(self.rounds)


class Goal(msgspec.Struct, frozen=True):
    """What was asked for: the ratio of a contender to another, at most or at least."""

    contender: str
    baseline: str
    bound: float
    at_least: bool = False


class Verdict(msgspec.Struct, frozen=True):
    """A goal and what was measured: the median of the ratios within each round."""

    goal: Goal
    ratio: float
    met: bool


class Figure(msgspec.Struct, frozen=True):
    """Something measured once, which no other contender is held against."""

    name: str
    value: float
    unit: str


class Limit(msgspec.Struct, frozen=True):
    """What was asked of a figure: at most or at least so much of its unit."""

    figure: str
    bound: float
    at_least: bool = False

    def is_met_by(self, value: float) -> bool:
        return value >= self.bound if self.at_least else value <= self.bound


def measure(contenders: Mapping[str, Callable[[], int]], rounds: int) -> dict[str, Timing]:
    """Run each contender once a round, in random order; each answers how many operations it did."""
    timings: dict[str, list[float]] = {name: [] for name in contenders}
    for contender in contenders.values():
        contender()
    for _ in range(rounds):
        for name in random.sample(list(contenders), len(contenders)):
            start = time.perf_counter()
            operations = contenders[name]()
            timings[name].append((time.perf_counter() - start) / operations * 1e6)
    return {name: Timing(figures) for name, figures in timings.items()}


def ratio(timings: Mapping[str, Timing], contender: str, baseline: str) -> float:
    """The contender's time over the baseline's: the median over the rounds they shared."""
    pairs = zip(timings[contender].rounds, timings[baseline].rounds, strict=True)
    return statistics.median(mine / theirs for mine, theirs in pairs)


def judge(timings: Mapping[str, Timing], goal: Goal) -> Verdict | None:
    """Whether the goal is met; None where one of the two was not run.

    A ratio "at least" is one of throughputs: the baseline's time over the contender's.
    """
    if goal.contender not in timings or goal.baseline not in timings:
        return None
    if goal.at_least:
        measured = ratio(timings, goal.baseline, goal.contender)
        return Verdict(goal, measured, measured >= goal.bound)
    measured = ratio(timings, goal.contender, goal.baseline)
    return Verdict(goal, measured, measured <= goal.bound)
