"""How far chance in the choice of queries moves a score: bootstrap intervals (Efron, 1979)."""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

ROUNDS = 2000
SEED = 0
_AT_ONCE = 100  # rounds, to bound memory

# Scores of the queries of each part of each set: a set's score is the mean of its parts' means (MTEB's
# subsets), the whole the mean of the sets. One plain set is [[scores]].
Numbers = npt.NDArray[np.float64]
Scores = Sequence[Sequence[Numbers]]
Draw = Callable[[np.random.Generator, Numbers, int], Numbers]


def mean_of(scores: Scores) -> float:
    """The mean over sets of the mean over parts of the mean over queries."""
    return float(np.mean([np.mean([part.mean() for part in parts]) for parts in scores]))


def interval(scores: Scores) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of `mean_of(scores)`, queries drawn anew within each part.

    It says how the score would vary over other queries of the same kind, not over other sets.

    >>> low, high = interval([[np.array([0.0, 1.0] * 50)]])
    """

    def drawn(rng: np.random.Generator, part: Numbers, rounds: int) -> Numbers:
        chosen: Numbers = part[rng.integers(0, len(part), (rounds, len(part)))]
        return chosen

    low, high = np.quantile(means_by_chance(scores, drawn, ROUNDS), (0.025, 0.975))
    return float(low), float(high)


def means_by_chance(scores: Scores, draw: Draw, rounds: int) -> Numbers:
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
