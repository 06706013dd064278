"""The harness against a few lines of numpy, on real code and the real MiniLM."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest

from codequarry.benchmarks.bm25 import BM25Search
from codequarry.benchmarks.evaluate import measure, score
from codequarry.benchmarks.models import BenchmarkModel
from codequarry.benchmarks.mteb_tasks import LocalTask
from codequarry.benchmarks.quantization import bits_and_back, int8_and_back, ranges_of
from codequarry.benchmarks.results import Row
from codequarry.data.eval_set import EvalSet
from codequarry.modules.tasks import CODE

Scores = Any


@pytest.fixture(scope="module")
def rows(functions: EvalSet, minilm_model: BenchmarkModel, tmp_path_factory: pytest.TempPathFactory) -> Any:
    out = tmp_path_factory.mktemp("results")
    found = score([functions], [minilm_model], out=out, compute="fp32", progress=False)
    return {row.name: row for row in found}, out


def vectors(model: BenchmarkModel, functions: EvalSet) -> tuple[Scores, Scores]:
    return tuple(  # type: ignore[return-value]
        model.model.encode(list(texts.values()), prompt="", normalize_embeddings=True)
        for texts in (functions.queries, functions.documents)
    )


def metrics(scores: Scores) -> tuple[float, float, float]:
    """nDCG@10, MRR@10 and recall@1 where document n alone answers query n."""
    ranks = (scores >= np.diag(scores)[:, None]).sum(axis=1)
    found = ranks <= 10
    return (
        float((found / np.log2(1 + ranks)).mean()),
        float((found / ranks).mean()),
        float((ranks == 1).mean()),
    )


def assert_row(row: Row, scores: Scores) -> None:
    expected = metrics(scores)
    assert (row.ndcg_at_10, row.mrr_at_10, row.recall_at_1) == pytest.approx(expected, abs=2e-4)


def test_minilm_scores_equal_a_few_lines_of_numpy(
    rows: Any, functions: EvalSet, minilm_model: BenchmarkModel
) -> None:
    queries, documents = vectors(minilm_model, functions)
    row = rows[0]["all-MiniLM-L6-v2"]
    assert_row(row, queries @ documents.T)
    assert 0.3 < row.ndcg_at_10 < 0.99  # a set that can tell models apart
    assert (row.queries, row.documents) == (len(functions.queries), len(functions.documents))
    assert row.low < row.ndcg_at_10 < row.high


def test_gains_above_one_and_several_right_documents_score_as_computed_by_hand(
    minilm_model: BenchmarkModel,
) -> None:
    texts = {
        f"d{n}": text for n, text in enumerate(["sort numbers", "sort a list", "parse dates", "bake bread"])
    }
    found = EvalSet("graded", "qa", {"q": "sort a list"}, texts, {"q": {"d3": 3, "d0": 1}})
    (row,) = (r for r in score([found], [minilm_model], progress=False) if r.model == "all-MiniLM-L6-v2")
    # MiniLM ranks d1, d0, then d2 and d3 in an order looked up below; ideal is d3 then d0.
    model = minilm_model.model
    order = np.argsort(-(model.encode(["sort a list"]) @ model.encode(list(texts.values())).T)[0])
    gains = [{0: 1, 3: 3}.get(int(n), 0) for n in order]
    gained = sum(gain / np.log2(2 + rank) for rank, gain in enumerate(gains))
    assert row.ndcg_at_10 == pytest.approx(gained / (3 + 1 / np.log2(3)), abs=1e-4)


def test_bm25s_row_is_bm25s_own_ranking(rows: Any, functions: EvalSet) -> None:
    engine = BM25Search()
    engine.index([{"id": name, "text": text} for name, text in functions.documents.items()])
    asked = [{"id": name, "text": text} for name, text in functions.queries.items()]
    found = engine.search(asked, top_k=100)
    assert rows[0]["BM25"].ndcg_at_10 == pytest.approx(_ndcg_of(found), abs=1e-4)
    assert rows[0]["BM25, plain words"].ndcg_at_10 < rows[0]["BM25"].ndcg_at_10


def test_the_fused_row_is_the_formula_over_both_rankings(
    rows: Any, functions: EvalSet, minilm_model: BenchmarkModel
) -> None:
    engine = BM25Search()
    engine.index([{"id": name, "text": text} for name, text in functions.documents.items()])
    words = engine.search([{"id": n, "text": text} for n, text in functions.queries.items()], top_k=100)
    queries, documents = vectors(minilm_model, functions)
    names = list(functions.documents)
    dense = {
        query: dict(zip(names, scores.tolist(), strict=True))
        for query, scores in zip(functions.queries, queries @ documents.T, strict=True)
    }
    fused: dict[str, dict[str, float]] = {query: {} for query in functions.queries}
    for query, total in fused.items():
        for ranking in (dense[query], words[query]):
            order = sorted(ranking, key=lambda name: (ranking[name], name), reverse=True)[:100]
            for rank, name in enumerate(order, 1):
                total[name] = total.get(name, 0.0) + 1 / (60 + rank)
    assert rows[0]["all-MiniLM-L6-v2 + BM25"].ndcg_at_10 == pytest.approx(_ndcg_of(fused), abs=1e-4)


def _ndcg_of(found: dict[str, dict[str, float]]) -> float:
    total = 0.0
    for query, ranking in found.items():
        order = sorted(ranking, key=lambda name: (ranking[name], name), reverse=True)[:10]
        right = f"d{query[1:]}"
        total += 1 / np.log2(2 + order.index(right)) if right in order else 0.0
    return total / len(found)


def test_mtebs_tree_holds_a_file_a_model_and_set(rows: Any) -> None:
    found = {str(file.relative_to(rows[1])).split("/")[0]: file for file in rows[1].rglob("functions.json")}
    assert set(found) == {
        "codequarry__bm25", "codequarry__bm25-plain", "sentence-transformers__all-MiniLM-L6-v2",
        "sentence-transformers__all-MiniLM-L6-v2+bm25",
    }  # fmt: skip
    record = json.loads(found["sentence-transformers__all-MiniLM-L6-v2"].read_text())
    assert record["scores"]["test"][0]["ndcg_at_10"] == pytest.approx(
        rows[0]["all-MiniLM-L6-v2"].ndcg_at_10, abs=1e-4
    )
    assert not list(rows[1].rglob(".*"))  # nothing half-made is left


def test_candidates_alone_compete(functions: EvalSet, minilm_model: BenchmarkModel) -> None:
    few = replace(functions, candidates={f"q{n}": [f"d{n}"] for n in range(len(functions.queries))})
    found = {row.model: row for row in score([few], [minilm_model], progress=False)}
    assert found["all-MiniLM-L6-v2"].recall_at_1 == 1
    assert found["all-MiniLM-L6-v2 + BM25"].recall_at_1 == 1


def test_dimensions_and_precisions_equal_numpy(
    functions: EvalSet, minilm_model: BenchmarkModel, tmp_path: Path
) -> None:
    measured = measure(
        [functions],
        [minilm_model],
        dims=[64],
        precisions=["float32", "int8", "binary"],
        wrong_prompts=["none", "sides", "task"],
        out=tmp_path,
        compute="fp32",
        progress=False,
    )
    queries, documents = vectors(minilm_model, functions)
    (cut,) = measured.variants["dims"]
    q, d = (v[:, :64] / np.linalg.norm(v[:, :64], axis=1, keepdims=True) for v in (queries, documents))
    assert_row(cut, q @ d.T)
    whole, int8, binary = measured.variants["precisions"]
    assert_row(whole, queries @ documents.T)
    assert_row(int8, queries @ int8_and_back(documents, ranges_of(documents)).T)
    hamming = np.where(queries > 0, 1, -1) @ np.where(documents > 0, 1, -1).T
    scores = queries @ bits_and_back(documents).T
    cut_off = np.sort(hamming, axis=1)[:, -40][:, None]
    assert_row(binary, np.where(hamming >= cut_off, scores, -9.0))
    assert "prompts" not in measured.variants  # it has none
    (ranges,) = tmp_path.rglob("int8_ranges.json")
    assert ranges.parent.name == minilm_model.fingerprint[:12]
    assert {line["language"] for line in measured.languages} == set(functions.languages.values())
    assert sum(line["queries"] for line in measured.languages if line["model"] == "BM25") == cut.queries


def test_wrong_prompts_are_what_the_model_is_given(functions: EvalSet, prompted: BenchmarkModel) -> None:
    first = list(functions.queries)[:12]
    functions = EvalSet(
        "twelve",
        "nl2code",
        {name: functions.queries[name] for name in first},
        {f"d{name[1:]}": functions.documents[f"d{name[1:]}"] for name in first},
        {name: functions.relevant[name] for name in first},
    )
    measured = measure(
        [functions], [prompted], wrong_prompts=["none", "sides", "task"], compute="fp32", progress=False
    )
    own_query, own_document = CODE.prefixes["nl2code"]
    given = {
        "no prompt": ("", ""),
        "sides swapped": (own_document, own_query),
        "task swapped": CODE.prefixes["qa"],
    }
    found = {row.variant: row for row in measured.variants["prompts"]}
    assert found.keys() == given.keys()
    for name, prompts in given.items():
        queries, documents = (
            prompted.model.encode(list(texts.values()), prompt=prompt, normalize_embeddings=True)
            for texts, prompt in zip((functions.queries, functions.documents), prompts, strict=True)
        )
        assert_row(found[name], queries @ documents.T)
    own_row = next(row for row in measured.rows if row.model == "mini")
    queries, documents = (
        prompted.model.encode_query(list(functions.queries.values()), task="nl2code"),
        prompted.model.encode_document(list(functions.documents.values()), task="nl2code"),
    )
    assert_row(own_row, queries @ documents.T)


def test_rows_name_the_page_of_their_set_on_the_hub_where_it_has_one(
    functions: EvalSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_texts(task: Any) -> None:
        task.dataset, task.data_loaded = LocalTask(functions).dataset, True

    monkeypatch.setattr("codequarry.benchmarks.evaluate.load_from_hub", give_texts)
    saturated = replace(functions, name="codexglue_java_cs")
    rows = [row.record() for row in measure(["CosQA", saturated], [], progress=False).rows]
    page = mteb.get_tasks(["CosQA"])[0].metadata.dataset
    found = {
        (row["set"], row.get("dataset"), row.get("dataset_revision"), row.get("in_mean")) for row in rows
    }
    assert found == {
        ("CosQA", page["path"], page["revision"], True),
        ("codexglue_java_cs", None, None, False),
    }


def test_two_of_one_name_are_refused(
    functions: EvalSet, minilm_model: BenchmarkModel, prompted: BenchmarkModel
) -> None:
    with pytest.raises(ValueError, match="Two sets are called functions"):
        measure([functions, functions], [minilm_model])
    with pytest.raises(ValueError, match="Two models are called mini: rename a folder"):
        score([functions], [prompted, replace(prompted, fingerprint="other")])
