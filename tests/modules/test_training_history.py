from itertools import pairwise

import pytest

from codequarry.modules.training_history import losses, smoothed, validations

HISTORY = [
    {"eval_mean_ndcg@10": 0.5, "eval_runtime": 1.0, "epoch": 0, "step": 0},
    {"loss": 2.0, "grad_norm": 1.0, "learning_rate": 1e-4, "epoch": 0.1, "step": 10},
    {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 1e-4, "epoch": 0.2, "step": 20},
    {"eval_mean_ndcg@10": 0.7, "eval_qa_64_ndcg@10": 0.6, "eval_runtime": 1.0, "epoch": 0.2, "step": 20},
    {"train_runtime": 9.0, "train_loss": 1.5, "epoch": 0.2, "step": 20},
]


def test_losses_and_validations_are_told_apart() -> None:
    assert losses(HISTORY) == ([10, 20], [2.0, 1.0])
    assert validations(HISTORY) == [
        {"step": 0, "mean_ndcg@10": 0.5},
        {"step": 20, "mean_ndcg@10": 0.7, "qa_64_ndcg@10": 0.6},
    ]
    assert losses([]) == ([], [])
    assert validations([]) == []


def test_a_smoothed_line_starts_where_the_line_does_and_lags_behind_it() -> None:
    assert smoothed([]) == []
    assert smoothed([3.0]) == pytest.approx([3.0])
    assert smoothed([2.0] * 30) == pytest.approx([2.0] * 30)
    falling = smoothed([1.0] * 20 + [0.0] * 20)
    assert all(later < earlier for earlier, later in pairwise(falling[19:]))
    assert 0.05 < falling[-1] < 0.2, "0.9 to the 20th power, 0.12, is left of the first half"
