"""How far chance in the choice of queries moves a score: bootstrap intervals (Efron, 1979)."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ROUNDS = 2000
SEED = 0
_AT_ONCE = 100  # rounds, to bound memory

# Scores of the queries of each part of each set: a set's score is the mean of its parts' means (MTEB's
# subsets), the whole the mean of the sets. One plain set is [[scores]].
Scores = Sequence[Sequence[npt.NDArray[np.float64]]]


def mean_of(scores: Scores) -> float:
    """The mean over sets of the mean over parts of the mean over queries."""
    return float(np.mean([np.mean([part.mean() for part in parts]) for parts in scores]))


def interval(scores: Scores, *, rounds: int = ROUNDS, seed: int = SEED) -> tuple[float, float]:
    """The 95% percentile bootstrap interval of `mean_of(scores)`, queries drawn anew within each part.

    It says how the score would vary over other queries of the same kind, not over other sets.

    >>> low, high = interval([[np.array([0.0, 1.0] * 50)]])
    """
    rng = np.random.default_rng(seed)
    means = np.zeros(rounds)
    for parts in scores:
        for part in parts:
            drawn = np.empty(rounds)
            for start in range(0, rounds, _AT_ONCE):
                stop = min(start + _AT_ONCE, rounds)
                chosen = rng.integers(0, len(part), (stop - start, len(part)))
                drawn[start:stop] = part[chosen].mean(axis=1)
            means += drawn / (len(parts) * len(scores))
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
