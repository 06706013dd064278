import pytest

from codequarry.model_card.in_words import counted, listed, measured, scored, table, timed


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
