"""Documents that are searched by their passages."""

import numpy as np
import pytest
from datasets import Dataset

from codequarry.benchmarks.bm25 import BM25Search
from codequarry.benchmarks.evaluate import score
from codequarry.benchmarks.models import BenchmarkModel, BestPassageSearch
from codequarry.data.eval_set import EvalSet

PASSAGES = {
    "dates": ("parse a date", "format a date and a time zone"),
    "mail": ("send a mail", "parse a date"),  # shares a passage
    "lines": ("draw a line", "send the line to a printer"),
}

QUERIES = {"q0": "send mail", "q1": "time zone of a date", "q2": "line"}


def corpus(texts: dict[str, str]) -> Dataset:
    return Dataset.from_dict({"id": list(texts), "text": list(texts.values())})


@pytest.fixture
def queries() -> Dataset:
    return corpus(QUERIES)


def test_a_document_scores_as_its_best_passage_and_equal_passages_count_once(queries: Dataset) -> None:
    search = BestPassageSearch(BM25Search(), PASSAGES)
    search.index(corpus(dict.fromkeys(PASSAGES, "")))
    found = search.search(queries, top_k=10)
    plain = BM25Search()
    plain.index(corpus({text: text for texts in PASSAGES.values() for text in texts}))
    for query, scores in plain.search(queries, top_k=10).items():
        best = {
            name: max(scores[text] for text in texts if text in scores)
            for name, texts in PASSAGES.items()
            if not scores.keys().isdisjoint(texts)
        }
        assert found[query] == best


def test_only_candidates_are_answers_and_no_more_than_wanted(queries: Dataset) -> None:
    search = BestPassageSearch(BM25Search(), PASSAGES)
    search.index(corpus(dict.fromkeys(PASSAGES, "")))
    few = {"q0": ["lines"], "q1": ["mail"], "q2": ["dates", "lines"]}
    found = search.search(queries, top_k=10, top_ranked=few)
    assert {query: list(answers) for query, answers in found.items()} == {
        "q0": ["lines"], "q1": ["mail"], "q2": ["lines"],
    }  # fmt: skip
    assert all(len(answers) == 1 for answers in search.search(queries, top_k=1).values())


def test_many_good_passages_of_one_document_do_not_crowd_out_another() -> None:
    search = BestPassageSearch(BM25Search(), {"a": ("date", "date date"), "b": ("date of many other words",)})
    search.index(corpus({"a": "", "b": ""}))
    assert list(search.search(corpus({"q": "date"}), top_k=2)["q"]) == ["a", "b"]


def test_a_models_row_is_that_of_the_nearest_passage_by_numpy(minilm_model: BenchmarkModel) -> None:
    relevant = {"q0": {"mail": 1}, "q1": {"dates": 1}, "q2": {"dates": 1}}  # the last is wrong on purpose
    candidates = {query: list(PASSAGES) for query in QUERIES}
    documents = {name: "\n".join(texts) for name, texts in PASSAGES.items()}
    found = EvalSet("c", "nl2code", QUERIES, documents, relevant, {}, candidates)
    scored = score([found], [minilm_model], passages=PASSAGES, compute="fp32")
    rows = {row.model: row for row in scored}
    assert list(rows) == [
        "BM25", "BM25, plain words", "all-MiniLM-L6-v2", "all-MiniLM-L6-v2 + BM25",
    ]  # fmt: skip
    model = minilm_model.model
    expected = []
    for query, text in QUERIES.items():
        asked = model.encode(text, normalize_embeddings=True)
        near = {
            name: max(model.encode(list(texts), normalize_embeddings=True) @ asked)
            for name, texts in PASSAGES.items()
        }
        (right,) = relevant[query]
        rank = sum(score >= near[right] for score in near.values())
        expected.append(1 / np.log2(1 + rank))
    assert rows["all-MiniLM-L6-v2"].ndcg_at_10 == pytest.approx(np.mean(expected), abs=1e-4)
