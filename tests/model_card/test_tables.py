import pytest

from codequarry.benchmarks import models
from codequarry.data.catalog.schema import LICENCES
from codequarry.data.cleaning.decontamination import LOOKS
from codequarry.model_card.tables import (
    RUNTIMES,
    WRONG_PROMPTS,
    by_evaluation_set,
    by_language,
    by_licence,
    by_model,
    by_reason,
    by_runtime,
    by_source,
    by_validation,
    by_variant,
    counted,
    every_score,
    languages_of,
    leaves_out,
    listed,
    measured,
    other_models,
    own_rows,
    prompts_left_out,
    runtimes_left_out,
    scored,
    share_alike,
    table,
    timed,
)
from codequarry.release.runtimes import KINDS


def test_the_model_itself_comes_first_and_the_mean_last(results):
    results["rows"].sort(key=lambda row: (row["task"] != "mean", row["model"] == "mini"))
    head, *lines = by_model(results)
    assert head == ["set", "task", "queries", "mini", "BM25", "all-MiniLM-L6-v2"]
    assert [line[0] for line in lines] == ["conala", "docs_qa", "mean"]
    assert lines[-1][:3] == ["mean", "all", "2,541"]


def test_each_cell_is_the_score_of_its_set_and_model_and_the_best_is_bold(results):
    head, *lines = by_model(results)
    for line in lines:
        scores = {row["model"]: row["ndcg@10"] for row in results["rows"] if row["set"] == line[0]}
        for model, cell in zip(head[3:], line[3:], strict=True):
            assert cell.strip("*") == f"{scores[model]:.3f}"
            assert cell.startswith("**") == (scores[model] == max(scores.values()))


def test_a_model_that_was_not_scored_on_a_set_is_not_measured_there(results):
    results["rows"] = [row for row in results["rows"] if (row["model"], row["set"]) != ("BM25", "conala")]
    head, conala, *_ = by_model(results)
    assert conala[head.index("BM25")] == "not measured"


def test_variants_stand_in_columns_after_the_model_as_it_is(results):
    head, conala, *_ = by_variant(results, "prompts", "right prompts")
    assert head == ["set", "task", "queries", "right prompts", "no prompt", "sides swapped"]
    assert conala == ["conala", "nl2code", "472", "0.657", "0.551", "0.502"]
    assert by_variant(results, "dims")[0][3:] == ["384 dims", "128 dims"]


@pytest.mark.parametrize("nothing", [None, {}, {"rows": []}, {"rows": [], "dims": []}])
def test_nothing_measured_makes_no_table(nothing):
    assert by_model(nothing) == every_score(nothing) == by_language(nothing) == []
    assert by_variant(nothing, "dims", "whole") == by_runtime(nothing) == by_validation({}) == []


def test_a_file_that_does_not_say_whose_it_is_has_no_own_rows(results):
    assert {row["model"] for row in own_rows(results)} == {"mini"}
    assert other_models(results) == ["BM25", "all-MiniLM-L6-v2"]
    del results["model"]
    assert own_rows(results) == []
    assert len(by_model(results)[0]) == 6


def test_rows_from_before_sets_had_names_go_by_their_task(results):
    results["rows"] = [{"model": "mini", "task": task, "ndcg@10": 0.5} for task in ("qa", "nl2code")]
    assert [line[:3] for line in by_model(results)[1:]] == [
        ["qa", "qa", "not measured"],
        ["nl2code", "nl2code", "not measured"],
    ]


def test_every_score_of_the_file_has_its_row(results):
    head, *lines = every_score(results)
    assert len(lines) == len(results["rows"])
    assert lines[0] == [
        "mini",
        "conala",
        "nl2code",
        "472",
        "490",
        "0.657",
        "0.616",
        "0.555",
        "0.642 to 0.672",
    ]
    assert len(head) == len(lines[0])


def test_a_runtime_out_of_tolerance_is_told_from_one_within_and_from_one_not_judged(verification):
    verification["rows"].append({"runtime": "llama.cpp"})
    rows = by_runtime(verification)
    assert rows[1] == ["sentence-transformers 6.2.0", "fp32", "0.9999999", "1.3e-07", "yes"]
    assert rows[2][-1] == "**no**"
    assert rows[3] == ["llama.cpp", *["not measured"] * 4]
    verification["rows"].append({"runtime": "openvino", "worst_cosine": float("nan"), "ok": False})
    assert by_runtime(verification)[4] == ["openvino", *["not measured"] * 3, "**no**"]


def test_wrong_prompts_that_were_not_tried_are_named(results):
    assert prompts_left_out(results) == ["task swapped"]
    assert prompts_left_out(None) == list(WRONG_PROMPTS) == list(models.WRONG_PROMPTS.values())


def test_a_runtime_that_was_not_run_is_named(verification):
    assert runtimes_left_out(verification) == ["transformers", "openvino", "llama-cpp-python"]
    assert runtimes_left_out(None) == list(RUNTIMES)


def test_the_runtimes_of_a_card_are_those_that_verify_knows():
    assert [kind.name for kind in KINDS if not kind.static] == list(RUNTIMES)


def test_validation_scores_are_a_table_of_tasks_and_sizes():
    scores = {"mean_ndcg@10": 0.8347, "qa_ndcg@10": 0.81, "mean_128_ndcg@10": 0.7, "loss": 2.5}
    assert by_validation(scores) == [
        ["task", "whole vectors", "128 dims"],
        ["mean", "0.835", "0.700"],
        ["qa", "0.810", "not measured"],
    ]


def test_a_mean_that_leaves_a_set_out_is_known_by_that_set(results):
    assert not leaves_out(results)
    results["rows"][0]["in_mean"] = False
    assert leaves_out(results)


ROWS = (
    {"source": "b", "task": "qa", "pairs": 5, "licence": "MIT", "pairs_drawn": 64},
    {"source": "a", "task": "qa", "pairs": 1000, "licence": "MIT", "pairs_drawn": 128},
    {"source": "a", "task": "code2nl", "pairs": 200, "licence": "MIT", "pairs_drawn": 0},
    {"source": "mine", "task": "nl2code", "pairs": 1, "licence": None, "pairs_drawn": 64},
)


def test_a_source_counts_once_under_its_licence():
    assert by_licence(ROWS) == [["MIT", "2", "1,205", "192"], ["not recorded", "1", "1", "64"]]


def test_a_source_has_one_row_with_all_its_tasks():
    assert by_source(ROWS) == [
        ["a", "MIT", "code2nl, qa", "1,200", "128"],
        ["b", "MIT", "qa", "5", "64"],
        ["mine", "not recorded", "nl2code", "1", "64"],
    ]


def test_one_number_that_was_not_recorded_makes_no_sum():
    rows = [ROWS[1], {**ROWS[2], "pairs_drawn": None}]
    assert by_source(rows) == [["a", "MIT", "code2nl, qa", "1,200", "not measured"]]


def test_share_alike_is_told_from_the_identifier_as_the_table_of_licences_has_it():
    for spdx, row in LICENCES.items():
        found = share_alike([{"source": "here", "task": "qa", "pairs": 1, "licence": spdx}])
        assert found == ([f"here ({spdx})"] if row.share_alike else [])


def test_a_set_from_which_nothing_was_taken_says_none(report):
    assert by_evaluation_set(report) == [
        ["evaluation set", "texts", "same text"],
        ["conala", "962", "55"],
        ["docs_qa", "4,154", "none"],
    ]


def test_every_way_of_looking_loses_its_first_word(report):
    report["eval_sets"]["conala"]["removed"] = dict.fromkeys(LOOKS, 1)
    head = by_evaluation_set(report)[0]
    assert len(head) == 2 + len(LOOKS)
    assert not any("evaluation:" in name for name in head)


def test_reasons_keep_the_order_of_the_report(report):
    assert by_reason(report)[1:] == [["too long", "178"], ["evaluation: same text", "55"]]


def test_common_languages_are_named_and_the_rest_is_not_hidden(report):
    assert languages_of(report) == "python 1,201, go 343"
    assert languages_of(report, most=1) == "python 1,201, and others"
    assert languages_of(None) == languages_of({}) == ""


@pytest.mark.parametrize("nothing", [None, "", {}, (), []])
def test_nothing_is_called_not_measured(nothing):
    assert measured(nothing) == "not measured"


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (False, "False"), (0.0, "0.0"), ((384, 128), "384, 128")]
)
def test_zero_and_false_are_values(value, words):
    assert measured(value) == words


def test_counts_and_scores_of_nothing_are_not_measured_and_of_zero_are_zero():
    assert (counted(None), scored(None), timed(None)) == ("not measured",) * 3
    assert (counted(0), scored(0.0)) == ("0", "0.000")
    assert (counted(22713216), scored(0.81249)) == ("22,713,216", "0.812")


def test_a_list_leaves_out_what_is_not_known():
    assert listed({"processor": "EPYC", "gpu_name": None, "cores": 2}) == "processor EPYC, cores 2"
    assert listed({"bf16_instructions": [], "cores": 2}) == "bf16 instructions none, cores 2"
    assert listed({"gpu": None}) == listed({}) == listed(None) == "not measured"


@pytest.mark.parametrize(
    ("seconds", "words"), [(42.4, "42 seconds"), (333, "6 minutes"), (7300, "2.0 hours")]
)
def test_time_is_told_in_the_unit_that_fits(seconds, words):
    assert timed(seconds) == words


def test_a_table_without_rows_is_not_measured():
    assert table([]) == table([["set", "score"]]) == "not measured"


def test_words_stand_on_the_left_and_numbers_on_the_right():
    assert table([["set", "task", "score"], ["a", "qa", "0.5"]], 2).splitlines()[1] == "| --- | --- | ---: |"
