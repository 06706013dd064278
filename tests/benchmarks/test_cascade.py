"""The contender gives what the cascade of `codequarry search` gives."""

from typing import Any

import numpy as np
import pytest

from codequarry.benchmarks.cascade import CASCADE, SECOND_STAGE, CascadeSearch
from codequarry.benchmarks.evaluate import measure
from codequarry.benchmarks.models import BenchmarkModel
from codequarry.data.eval_set import EvalSet
from codequarry.inference.open import open_static
from codequarry.search.fusion import WEIGHTS


@pytest.fixture(scope="module")
def rows(functions: EvalSet, minilm_model: BenchmarkModel) -> dict[str, Any]:
    measured = measure([functions], [minilm_model], progress=False, cascade=True)
    return {row.name: row for row in measured.rows}


def test_the_second_stage_and_each_model_s_cascade_have_a_row(
    rows: dict[str, Any], minilm_model: BenchmarkModel
) -> None:
    assert {SECOND_STAGE, f"{CASCADE}{minilm_model.label}"} <= rows.keys()


def test_without_the_model_s_candidates_the_second_stage_s_order_stays(functions: EvalSet) -> None:
    pico = open_static()
    assert pico is not None
    search = CascadeSearch(pico, "nl2code")
    corpus = [{"id": str(n), "text": text} for n, text in enumerate(["open a file", "close a socket", "x"])]
    search.index(corpus)
    found = search.search([{"id": "q", "text": "close the socket"}], top_k=2)["q"]
    assert list(found) == ["1", "0"]
    among = search.search([{"id": "q", "text": "close the socket"}], top_k=2, top_ranked={"q": ["0", "2"]})
    assert set(among["q"]) == {"0", "2"}


def test_the_model_ranks_the_candidates_and_the_others_follow(minilm_model: BenchmarkModel) -> None:
    pico = open_static()
    assert pico is not None
    texts = ["open a file", "close a socket", "close a file", "parse a date", "send a key"]
    corpus = [{"id": str(n), "text": text} for n, text in enumerate(texts)]
    vectors = minilm_model.stored_vectors(None, compute="fp32", progress=False)
    second = CascadeSearch(pico, "nl2code", candidates=2)
    whole = CascadeSearch(pico, "nl2code", minilm_model, vectors, candidates=2)
    for search in (second, whole):
        search.index(corpus)
    query = [{"id": "q", "text": "close the file"}]
    before, after = (search.search(query, top_k=5)["q"] for search in (second, whole))
    order = list(before)
    assert set(list(after)[:2]) == set(order[:2])
    assert list(after)[2:] == order[2:]
    assert list(after.values()) == sorted(after.values(), reverse=True)
    query_D = minilm_model.model.encode(["close the file"], normalize_embeddings=True)[0]
    chosen = sorted(int(name) for name in order[:2])
    similarity = minilm_model.model.encode([texts[n] for n in chosen], normalize_embeddings=True) @ query_D
    share = np.array([before[str(n)] for n in chosen])
    spread = WEIGHTS["nl2code"].second * similarity.std() / share.std()
    expected = similarity + spread * (share - share.mean())
    np.testing.assert_allclose([after[str(n)] for n in chosen], expected, atol=1e-4)
