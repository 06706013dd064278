"""How much of a score, or of a difference between two models, is chance in the choice of queries."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from codequarry.common.errors import UserError

BOOTSTRAP_ROUNDS = 2000
RANDOMISATION_ROUNDS = 10_000
SEED = 0
_AT_ONCE = 100  # rounds, to bound memory

# Scores of the queries of each part of each set: a set's score is the mean of its parts' means (MTEB's
# subsets), the whole the mean of the sets. One plain set is [[scores]].
Numbers = npt.NDArray[np.float64]
Scores = Sequence[Sequence[Numbers]]
Draw = Callable[[np.random.Generator, Numbers, int], Numbers]


@dataclass(frozen=True)
class Comparison:
    """Two models on one set, or on the mean of several.

    difference: nDCG@10 of `first` less that of `second`; low, high: its 95% bootstrap interval.
    p: how often a difference at least as large appears when each query's two scores change places at random.
    """

    first: str
    second: str
    set: str
    difference: float
    low: float
    high: float
    p: float


def mean_of(scores: Scores) -> float:
    """The mean over sets of the mean over parts of the mean over queries."""
    return float(np.mean([np.mean([part.mean() for part in parts]) for parts in scores]))


def interval(scores: Scores) -> tuple[float, float]:
    """The 95% percentile bootstrap interval (Efron, 1979) of `mean_of(scores)`.

    Queries are drawn anew within each part: it says how the score would vary over other queries of the same
    kind, not over other sets.

    >>> low, high = interval([[np.array([0.0, 1.0] * 50)]])
    """

    def drawn(rng: np.random.Generator, part: Numbers, rounds: int) -> Numbers:
        chosen: Numbers = part[rng.integers(0, len(part), (rounds, len(part)))]
        return chosen

    low, high = np.quantile(_means_by_chance(scores, drawn, BOOTSTRAP_ROUNDS), (0.025, 0.975))
    return float(low), float(high)


def compare(first: str, second: str, name: str, a: Scores, b: Scores) -> Comparison:
    """Compare two models' scores of the same queries in the same order.

    Paired randomisation test, two-sided (Smucker, Allan and Carterette, CIKM 2007), 10,000 rounds, seeded;
    `(1 + at least as large) / (1 + rounds)`, so that p is never 0.

    Raises UserError where the two were not scored on the same queries.
    """
    if [[len(part) for part in parts] for parts in a] != [[len(part) for part in parts] for parts in b]:
        raise UserError(f"{first} and {second} were not scored on the same queries of {name}.")
    differences = [
        [part - other for part, other in zip(parts, others, strict=True)]
        for parts, others in zip(a, b, strict=True)
    ]

    def swapped(rng: np.random.Generator, part: Numbers, rounds: int) -> Numbers:
        signed: Numbers = (rng.integers(0, 2, (rounds, len(part))) * 2 - 1) * part
        return signed

    observed = mean_of(differences)
    by_chance = _means_by_chance(differences, swapped, RANDOMISATION_ROUNDS)
    larger = int((np.abs(by_chance) >= abs(observed) - 1e-12).sum())
    p = (1 + larger) / (1 + RANDOMISATION_ROUNDS)
    return Comparison(first, second, name, observed, *interval(differences), p)


def comparison_table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as text, differences in points of nDCG@10."""
    width = max(len(row.set) for row in comparisons)
    lines = [
        f"{row.set:<{width}}  {100 * row.difference:>+6.1f}  "
        f"[{100 * row.low:>+5.1f}, {100 * row.high:>+5.1f}]  p {row.p:.4f}"
        for row in comparisons
    ]
    models = f"{comparisons[0].first} less {comparisons[0].second}"
    head = f"{models}, points of nDCG@10, 95% bootstrap interval, paired randomisation test:"
    return "\n".join([head, *lines])


def _means_by_chance(scores: Scores, draw: Draw, rounds: int) -> Numbers:
    """`mean_of(scores)` in each of many rounds of chance, `(rounds,)`; the same in every run.

    draw: from a part `(queries,)` and a number of rounds, what chance makes of it, `(rounds, queries)`.
    """
    rng = np.random.default_rng(SEED)
    means = np.zeros(rounds)
    for parts in scores:
        for part in parts:
            drawn = np.empty(rounds)
            for start in range(0, rounds, _AT_ONCE):
                stop = min(start + _AT_ONCE, rounds)
                drawn[start:stop] = draw(rng, part, stop - start).mean(axis=1)
            means += drawn / (len(parts) * len(scores))
    return means
