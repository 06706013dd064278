from itertools import product

import numpy as np
import pytest

from codequarry.benchmarks.results import Row
from codequarry.benchmarks.significance import compare, comparisons_of, table


def test_p_is_that_of_all_ways_to_exchange_the_scores() -> None:
    dice = np.random.default_rng(2)
    a, b = dice.random(10), dice.random(10) - 0.1
    observed = abs((a - b).mean())
    every = [abs(np.mean(np.array(signs) * (a - b))) for signs in product((1, -1), repeat=10)]
    exact = np.mean([value >= observed - 1e-12 for value in every])
    found = compare("A", "B", "s", [[a]], [[b]])
    assert found.p == pytest.approx(exact, abs=0.02)
    assert found.difference == pytest.approx((a - b).mean())


def test_a_model_against_itself_is_no_difference_at_all() -> None:
    scores = [[np.random.default_rng(0).random(40)]]
    found = compare("A", "A", "s", scores, scores)
    assert (found.difference, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_a_clear_winner_is_significant_and_its_interval_leaves_zero_out() -> None:
    dice = np.random.default_rng(1)
    b = dice.random(200) * 0.5
    found = compare("A", "B", "s", [[b + 0.2 + 0.1 * dice.random(200)]], [[b]])
    assert found.p < 0.001
    assert found.low > 0.15


def test_chance_alone_is_significant_as_often_as_it_says() -> None:
    dice = np.random.default_rng(4)
    hits = sum(compare("A", "B", "s", [[dice.random(30)]], [[dice.random(30)]]).p < 0.2 for _ in range(100))
    assert 8 <= hits <= 34


def test_other_queries_are_refused() -> None:
    with pytest.raises(ValueError, match="not scored on the same queries of s"):
        compare("A", "B", "s", [[np.zeros(3)]], [[np.zeros(4)]])


def row(model: str, name: str, scores: list[float], in_mean: bool = True) -> Row:
    by_query = {"default": {f"q{n}": score for n, score in enumerate(scores)}}
    return Row(model, "qa", len(scores), 9, 0, 0, 0, set=name, in_mean=in_mean, by_query=by_query)


def test_models_are_compared_on_each_set_and_on_the_mean_of_those_that_count() -> None:
    rows = [
        row(model, name, [base, base + 0.1], in_mean=name != "easy")
        for model, base in (("A", 0.5), ("B", 0.3))
        for name in ("one", "two", "easy")
    ]
    found = comparisons_of(rows, "A", "B")
    assert [comparison.set for comparison in found] == ["one", "two", "easy", "mean"]
    assert all(comparison.difference == pytest.approx(0.2) for comparison in found)
    assert "A less B" in table(found)
    assert "+20.0" in table(found)


def test_a_model_that_was_not_scored_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="'C' was not scored: compare two of A"):
        comparisons_of([row("A", "one", [1.0])], "A", "C")
