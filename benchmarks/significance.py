"""Is one model better than another on these queries, or was it luck? A paired randomisation test."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from codequarry.benchmarks.bootstrap import Numbers, Scores, interval, mean_of, means_by_chance
from codequarry.benchmarks.results import MEAN, Row, scores_of

ROUNDS = 10_000


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


def compare(first: str, second: str, name: str, a: Scores, b: Scores) -> Comparison:
    """Compare two models' scores of the same queries in the same order.

    Paired randomisation test, two-sided (Smucker, Allan and Carterette, CIKM 2007), 10,000 rounds, seeded;
    `(1 + at least as large) / (1 + rounds)`, so that p is never 0.

    Raises ValueError where the two were not scored on the same queries.
    """
    shapes = [[len(part) for part in parts] for parts in a], [[len(part) for part in parts] for parts in b]
    if shapes[0] != shapes[1]:
        raise ValueError(f"{first} and {second} were not scored on the same queries of {name}.")
    differences = [
        [part - other for part, other in zip(parts, others, strict=True)]
        for parts, others in zip(a, b, strict=True)
    ]
    observed = mean_of(differences)
    by_chance = means_by_chance(differences, _swapped, ROUNDS)
    larger = int((np.abs(by_chance) >= abs(observed) - 1e-12).sum())
    low, high = interval(differences)
    return Comparison(first, second, name, observed, low, high, (1 + larger) / (1 + ROUNDS))


def comparisons_of(rows: Sequence[Row], first: str, second: str) -> list[Comparison]:
    """Two models, by their rows' names, compared on each set, and on the mean of those that count.

    Raises ValueError for a name that no row has.
    """
    by_name: dict[str, list[Row]] = {first: [], second: []}
    for row in rows:
        if row.name in by_name and row.set != MEAN:
            by_name[row.name].append(row)
    for name, own in by_name.items():
        if not own:
            raise ValueError(
                f"{name!r} was not scored: compare two of {', '.join(dict.fromkeys(r.name for r in rows))}."
            )
    ours, theirs = by_name[first], by_name[second]
    found = [
        compare(first, second, a.set, scores_of([a]), scores_of([b]))
        for a, b in zip(ours, theirs, strict=True)
    ]
    counted = [[row for row in own if row.in_mean] for own in (ours, theirs)]
    if len(counted[0]) > 1:
        found.append(compare(first, second, MEAN, scores_of(counted[0]), scores_of(counted[1])))
    return found


def table(comparisons: Sequence[Comparison]) -> str:
    """The comparisons as text, differences in points of nDCG@10."""
    first, second = comparisons[0].first, comparisons[0].second
    width = max(len(row.set) for row in comparisons)
    lines = [
        f"{row.set:<{width}}  {100 * row.difference:>+6.1f}  "
        f"[{100 * row.low:>+5.1f}, {100 * row.high:>+5.1f}]  p {row.p:.4f}"
        for row in comparisons
    ]
    return "\n".join(
        [
            f"{first} less {second}, points of nDCG@10, 95% bootstrap interval, paired randomisation test:",
            *lines,
        ]
    )


def _swapped(rng: np.random.Generator, part: Numbers, rounds: int) -> Numbers:
    """The differences with the two scores of each query exchanged or not, as a coin falls."""
    signs = rng.integers(0, 2, (rounds, len(part))) * 2 - 1
    swapped: Numbers = signs * part
    return swapped
