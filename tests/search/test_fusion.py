"""The weights are rows of a table, and what was measured when they were chosen bears them out."""

import json
from pathlib import Path

import numpy as np
import pytest

from codequarry.modules.tasks import TASKS
from codequarry.search.first_stage import in_order
from codequarry.search.fusion import WEIGHTS, fuse

MEASURED = {
    row["task"]: row
    for row in json.loads(
        (Path(__file__).parents[2] / "benchmarks/results/fusion_weights.json").read_text("utf-8")
    )["rows"]
}


def test_every_task_has_its_weights() -> None:
    assert list(WEIGHTS) == list(TASKS)


@pytest.mark.parametrize("task", TASKS)
def test_the_second_stage_is_not_half_a_point_below_the_better_of_its_two_rankings(task: str) -> None:
    row = MEASURED[task]
    assert row["lexical"][str(WEIGHTS[task].lexical)] >= max(row["bm25"], row["lexical"]["0.0"]) - 0.5


@pytest.mark.parametrize("task", TASKS)
def test_the_cascade_is_a_point_above_the_model_by_itself(task: str) -> None:
    row = MEASURED[task]
    assert row["second"]["0.0"] >= row["strong"] - 0.3
    assert row["second"][str(WEIGHTS[task].second)] >= row["strong"] + 1


def test_standardised_scores_are_added_on_the_scale_of_the_first() -> None:
    dense, other = np.random.default_rng(0).normal(size=(2, 50)).astype(np.float32) * [[0.1], [7.0]]
    fused = fuse(dense, other, 0.4)
    z = (dense - dense.mean()) / dense.std() + 0.4 * (other - other.mean()) / other.std()
    np.testing.assert_allclose((fused - dense.mean()) / dense.std(), z, atol=1e-5)
    assert fused.mean() == pytest.approx(dense.mean(), abs=1e-6)


@pytest.mark.parametrize("likely", [1, 5, 49, 50, 1000])
def test_what_is_sorted_in_part_has_the_order_of_the_whole(likely: int) -> None:
    scores = np.random.default_rng(1).integers(0, 9, 50).astype(np.float32)  # with many that are equal
    assert list(in_order(scores, likely)) == np.argsort(-scores, kind="stable").tolist()
    assert list(in_order(scores[:0], likely)) == []
