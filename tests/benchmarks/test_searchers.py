"""Fused rankings as MTEB searches with them."""

import pytest

from codequarry.benchmarks.searchers import FusedSearch


def test_each_query_gets_the_sum_of_reciprocal_ranks_over_the_rankings_of_its_part() -> None:
    """Cormack, Clarke and Buettcher (SIGIR 2009): the sum of 1 / (k + rank), k = 60."""
    found = [
        {"python": {"q": {"a": 3.0, "b": 2.0, "c": 1.0}}, "go": {"q": {"z": 1.0}}},
        {"python": {"q": {"c": 0.9, "a": 0.1}}, "go": {"q": {}}},
    ]
    search = FusedSearch(found, "x/y", "1")
    asked = [{"id": "q", "text": ""}]
    fused = search.search(asked, top_k=9, hf_subset="python")["q"]
    assert fused == pytest.approx({"a": 1 / 61 + 1 / 62, "b": 1 / 62, "c": 1 / 63 + 1 / 61})
    assert list(search.search(asked, top_k=1, hf_subset="python")["q"]) == ["a"]
    assert search.search(asked, top_k=9, hf_subset="go") == {"q": {"z": 1 / 61}}


def test_documents_of_equal_score_are_ranked_by_falling_id() -> None:
    search = FusedSearch([{"default": {"q": {"a": 1.0, "b": 1.0}}}], "x/y", "1")
    assert search.search([{"id": "q", "text": ""}], top_k=1) == {"q": {"b": 1 / 61}}
