import json
from dataclasses import replace

import numpy as np
import pytest

from codequarry.benchmarks.results import Row, pair_sets, score_table, table, with_means
from codequarry.data.pair import Pair


def row(model: str, name: str, scores: list[float], in_mean: bool = True) -> Row:
    by_query = {"default": {f"q{n}": score for n, score in enumerate(scores)}}
    mean = float(np.mean(scores))
    return Row(
        model, "qa", len(scores), 9, mean, mean, mean, name, 0.1, 0.2, in_mean=in_mean, by_query=by_query
    )


def test_equal_texts_are_one_query_and_one_document() -> None:
    (found,) = pair_sets(
        [Pair("qa", "q", "a", "s", "x"), Pair("qa", "q", "b", "s", "x"), Pair("qa", "r", "a", "s", "y")]
    )
    assert (list(found.queries.values()), list(found.documents.values())) == (["q", "r"], ["a", "b"])
    assert found.relevant == {"q0": {"d0": 1, "d1": 1}, "q1": {"d0": 1}}
    assert found.languages == {"q0": "x", "q1": "y"}


def test_pairs_of_two_tasks_are_two_sets_in_the_order_of_the_tasks() -> None:
    pairs = [Pair("code2nl", "f()", "calls f", "s", "x"), Pair("nl2code", "call f", "f()", "s", "x")]
    assert [(found.name, found.task) for found in pair_sets(pairs)] == [("nl2code",) * 2, ("code2nl",) * 2]


def test_no_pairs_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="there is no pair to score"):
        pair_sets([])


def test_a_mean_follows_each_model_and_leaves_the_saturated_set_out() -> None:
    rows = [
        row(model, name, scores, in_mean=name != "easy")
        for model in ("A", "B")
        for name, scores in (("one", [0.0, 0.5]), ("two", [1.0]), ("easy", [1.0]))
    ]
    found = with_means(rows)
    assert [(r.model, r.set) for r in found] == [(m, s) for m in "AB" for s in ("one", "two", "easy", "mean")]
    assert found[3].ndcg_at_10 == pytest.approx((0.25 + 1) / 2)
    assert (found[3].queries, found[3].task) == (3, "mean")


def test_one_set_has_no_mean() -> None:
    assert [r.set for r in with_means([row("A", "one", [1.0]), row("A", "easy", [1.0], in_mean=False)])] == [
        "one",
        "easy",
    ]


def test_a_record_spells_metrics_as_cards_read_them_and_leaves_out_what_was_not_measured() -> None:
    record = Row("m", "qa", 3, 4, 0.5, 0.25, 0.125).record()
    assert json.loads(json.dumps(record)) == {
        "model": "m", "task": "qa", "in_mean": True, "queries": 3, "documents": 4, "ndcg@10": 0.5,
        "mrr@10": 0.25, "recall@1": 0.125,
    }  # fmt: skip
    assert list(row("m", "s", [0.5]).record())[:3] == ["model", "set", "task"]


def test_a_record_says_whether_its_set_counts_in_the_mean_and_a_mean_says_nothing() -> None:
    sets = [row("A", "one", [0.5]), row("A", "two", [0.7]), row("A", "easy", [1.0], in_mean=False)]
    assert [found.record().get("in_mean") for found in with_means(sets)] == [True, True, False, None]


def test_a_record_is_read_back_as_the_row_it_was() -> None:
    official = replace(row("A", "CosQA", [0.5]), dataset="CoIR-Retrieval/cosqa", dataset_revision="bc5efb7")
    for found in (official, row("A", "easy", [1.0], in_mean=False)):
        record = json.loads(json.dumps(found.record()))
        assert Row(**{name.replace("@", "_at_"): value for name, value in record.items()}) == found


def test_the_table_of_scores_has_a_line_a_set_and_says_which_the_mean_leaves_out() -> None:
    rows = with_means(
        [row("A", "one", [0.5]), row("A", "two", [0.7]), row("A", "easy", [1.0], in_mean=False)]
    )
    text = score_table(rows)
    assert [line.split()[0] for line in text.splitlines()[2:]] == ["one", "two", "easy*", "mean", "*"]
    assert "50.0 ±5.0" in text
    assert "60.0 ±" in text
    assert "left out of the mean" in text


def test_the_long_table_has_a_line_a_row() -> None:
    assert table([row("A", "one", [0.5]), row("BM25", "one", [0.5])]).splitlines()[3].startswith("BM25  one")
