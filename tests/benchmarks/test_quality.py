import json
import math
from pathlib import Path

import numpy as np
import pytest

from codequarry.benchmarks.quality import retrieval_sets, score_bm25, score_model, table, write_results
from codequarry.data.pair import Pair
from codequarry.modules.build import build_model

WORDS = ["sort a list", "parse a date", "send a mail", "open a file", "draw a line", "close a socket"]
PAIRS = [Pair("nl2code", word, f"def f(x):\n    # {word}\n    return x", "s", "python") for word in WORDS] + [
    Pair("code2nl", f"def g_{n}(): {word}", word, "s", "python") for n, word in enumerate(WORDS)
]


@pytest.fixture(scope="module")
def model(minilm: Path):
    return build_model(str(minilm), pooling="mean")


def test_equal_texts_are_one_query_and_one_document() -> None:
    (found,) = retrieval_sets(
        [Pair("qa", "q", "a", "s", "x"), Pair("qa", "q", "b", "s", "x"), Pair("qa", "r", "a", "s", "x")]
    )
    assert (list(found.queries.values()), list(found.documents.values())) == (["q", "r"], ["a", "b"])
    assert found.right == {"q0": {"d0", "d1"}, "q1": {"d0"}}


def test_scores_equal_a_few_lines_of_numpy(model) -> None:
    rows = {row.task: row for row in score_model("m", model, retrieval_sets(PAIRS))}
    for task in ("nl2code", "code2nl"):
        chosen = [pair for pair in PAIRS if pair.task == task]
        queries = model.encode_query([pair.query for pair in chosen], task=task)
        documents = model.encode_document([pair.document for pair in chosen], task=task)
        scores = queries @ documents.T
        ranks = (scores >= np.diag(scores)[:, None]).sum(1)
        assert rows[task].ndcg_at_10 == pytest.approx(
            np.mean([1 / math.log2(rank + 1) for rank in ranks]), abs=1e-3
        )
        assert rows[task].mrr_at_10 == pytest.approx(np.mean(1 / ranks), abs=1e-3)
        assert rows[task].recall_at_1 == pytest.approx(np.mean(ranks == 1), abs=1e-3)
    assert rows["mean"].ndcg_at_10 == pytest.approx(
        (rows["nl2code"].ndcg_at_10 + rows["code2nl"].ndcg_at_10) / 2, abs=1e-4
    )


def test_leaving_the_prefixes_out_changes_what_is_encoded(model, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str | None] = []
    original = type(model[0]).preprocess
    monkeypatch.setattr(
        type(model[0]),
        "preprocess",
        lambda self, texts, prompt=None, **rest: seen.append(prompt) or original(self, texts, prompt, **rest),
    )
    score_model("m", model, retrieval_sets(PAIRS[:6]), prompted=False)
    assert set(seen) == {""}
    seen.clear()
    score_model("m", model, retrieval_sets(PAIRS[:6]))
    assert set(seen) == {model.prompts["nl2code_query"], model.prompts["nl2code_document"]}


def test_bm25_finds_shared_words_and_the_results_file_holds_every_row(tmp_path: Path) -> None:
    rows = score_bm25(retrieval_sets(PAIRS))
    assert [row.task for row in rows] == ["nl2code", "code2nl", "mean"]
    assert rows[-1].recall_at_1 == 1
    write_results(tmp_path / "r.json", rows, benchmark="b", command="c")
    record = json.loads((tmp_path / "r.json").read_text())
    assert record["rows"] == [row.record() for row in rows]
    assert record["rows"][0]["ndcg@10"] == rows[0].ndcg_at_10
    assert record["hardware"]["processor"]
    assert "BM25" in table(rows)


def test_no_pairs_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="there is no pair to score"):
        score_bm25([])
