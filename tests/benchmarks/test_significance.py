from itertools import product

import numpy as np
import pytest

from codequarry.benchmarks.significance import compare, interval, mean_of


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


def test_a_large_sample_has_the_interval_of_the_normal_approximation() -> None:
    scores = np.random.default_rng(3).random(2000)
    low, high = interval([[scores]])
    half = 1.96 * scores.std() / np.sqrt(len(scores))
    assert low == pytest.approx(scores.mean() - half, abs=half / 10)
    assert high == pytest.approx(scores.mean() + half, abs=half / 10)


def test_equal_scores_leave_nothing_to_chance() -> None:
    assert interval([[np.full(30, 0.4)]]) == pytest.approx((0.4, 0.4))


def test_the_same_scores_give_the_same_interval() -> None:
    scores = [[np.random.default_rng(1).random(50)]]
    assert interval(scores) == interval(scores)


def test_sets_count_alike_however_many_queries_they_have() -> None:
    small, large = np.zeros(2), np.ones(1000)
    assert mean_of([[small], [large]]) == 0.5
    assert interval([[small], [large]]) == pytest.approx((0.5, 0.5))
    assert interval([[small, large]]) == pytest.approx((0.5, 0.5)), "and every part of one set"


def test_the_mean_of_two_sets_has_the_interval_of_independent_means() -> None:
    dice = np.random.default_rng(5)
    first, second = dice.random(800), dice.random(400)
    low, high = interval([[first], [second]])
    error = np.sqrt(first.var() / 800 + second.var() / 400) / 2
    assert (high - low) / 2 == pytest.approx(1.96 * error, rel=0.1)


def test_parts_of_a_set_count_alike() -> None:
    assert mean_of([[np.zeros(10), np.ones(90)]]) == 0.5
