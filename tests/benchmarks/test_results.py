import json
from dataclasses import replace

import numpy as np
import pytest

from codequarry.benchmarks.results import Row, comparisons_of, language_table, score_table, table, with_means
from codequarry.benchmarks.significance import comparison_table


def row(model: str, name: str, scores: list[float], in_mean: bool = True) -> Row:
    by_query = {"default": {f"q{n}": score for n, score in enumerate(scores)}}
    mean = float(np.mean(scores))
    return Row(
        model, "qa", len(scores), 9, mean, mean, mean, name, 0.1, 0.2, in_mean=in_mean, by_query=by_query
    )


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
    assert table([row("A", "one", [0.5]), row("BM25", "one", [0.5])]).splitlines()[3].startswith("BM25   one")


def test_models_are_compared_on_each_set_and_on_the_mean_of_those_that_count() -> None:
    rows = [
        row(model, name, [base, base + 0.1], in_mean=name != "easy")
        for model, base in (("A", 0.5), ("B", 0.3))
        for name in ("one", "two", "easy")
    ]
    found = comparisons_of(rows, "A", "B")
    assert [comparison.set for comparison in found] == ["one", "two", "easy", "mean"]
    assert all(comparison.difference == pytest.approx(0.2) for comparison in found)
    assert "A less B" in comparison_table(found)
    assert "+20.0" in comparison_table(found)


def test_a_model_that_was_not_scored_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="'C' was not scored: compare two of A"):
        comparisons_of([row("A", "one", [1.0])], "A", "C")


def test_the_table_of_languages_has_a_line_a_set_and_language() -> None:
    lines = [
        {"model": model, "set": "one", "language": language, "queries": 7, "ndcg@10": score}
        for model, score in (("A", 0.5), ("model B", 0.25))
        for language in ("go", "python")
    ]
    head, rule, *rows = language_table(lines).splitlines()
    assert len(head) == len(rule)
    assert [line.split() for line in rows] == [
        ["one", "go", "7", "50.0", "25.0"],
        ["one", "python", "7", "50.0", "25.0"],
    ]
