import numpy as np
import pytest

from codequarry.benchmarks.bootstrap import interval, mean_of


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
