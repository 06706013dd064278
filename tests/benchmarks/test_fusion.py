import random

import pytest
from mteb.models.hybrid_wrappers import fuse_rrf

from codequarry.benchmarks.fusion import DEPTH, FusedSearch, fuse


def test_fusion_equals_the_formula() -> None:
    """Cormack, Clarke and Buettcher (SIGIR 2009): the sum of 1 / (k + rank), k = 60."""
    fused = fuse([{"a": 3.0, "b": 2.0, "c": 1.0}, {"c": 0.9, "a": 0.1}])
    assert fused == pytest.approx({"a": 1 / 61 + 1 / 62, "b": 1 / 62, "c": 1 / 63 + 1 / 61})


def test_fusion_equals_mtebs_own_up_to_its_weights() -> None:
    dice = random.Random(0)
    rankings = [{f"d{n}": dice.choice([0.1, 0.2, 0.3]) for n in dice.sample(range(80), 50)} for _ in range(2)]
    assert fuse(rankings) == pytest.approx(fuse_rrf(rankings, [1.0, 1.0]))


def test_only_the_head_of_a_ranking_takes_part() -> None:
    assert len(fuse([{f"d{n}": float(n) for n in range(DEPTH + 50)}])) == DEPTH


def test_searching_gives_each_query_its_fused_best_of_its_part() -> None:
    found = [
        {"python": {"q": {"a": 2.0, "b": 1.0}}, "go": {"q": {"z": 1.0}}},
        {"python": {"q": {"b": 5.0}}, "go": {"q": {}}},
    ]
    search = FusedSearch(found, "x/y", "1")
    assert list(search.search([{"id": "q", "text": ""}], top_k=1, hf_subset="python")["q"]) == ["b"]
    assert search.search([{"id": "q", "text": ""}], top_k=9, hf_subset="go") == {"q": {"z": 1 / 61}}
