"""The harness against a score that others published, in the results of the last full run."""

import json
from pathlib import Path

import pytest

SUMMARY = Path(__file__).parents[2] / "benchmarks/results/all-MiniLM-L6-v2.json"


@pytest.mark.skipif(not SUMMARY.exists(), reason="no full run of all-MiniLM-L6-v2 has been written yet")
def test_minilm_on_mbpp_is_within_a_point_of_the_score_on_the_leaderboard() -> None:
    """74.6: nDCG@10 of all-MiniLM-L6-v2 on MBPPRetrieval, whose texts mbpp holds."""
    rows = json.loads(SUMMARY.read_text(encoding="utf-8"))["rows"]
    (mbpp,) = (row for row in rows if row["set"] == "mbpp" and row["model"] == "all-MiniLM-L6-v2")
    assert 100 * mbpp["ndcg@10"] == pytest.approx(74.6, abs=1.0)
