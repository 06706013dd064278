from dataclasses import replace

import pytest

from codequarry.model_card.card import CODET5, GEMMA, IDEAS, JINA, taken_and_left

MINI = {
    "objective.directions": ("query_to_doc",),
    "objective.hardness": "none",
    "objective.spread_out": 0.0,
    "objective.false_negatives.same_query": True,
    "objective.false_negatives.same_document": True,
    "objective.matching.teacher": "a/b",
}


def groups(card, paper):
    said = taken_and_left(card, paper)
    return {
        what: group
        for sentence in said.rstrip(".").split(". ")
        for group, _, whats in [sentence.partition(": ")]
        for what in whats.split("; ")
        if what in IDEAS[paper]
    }


def test_every_part_of_a_paper_is_in_exactly_one_group(card):
    for paper in (JINA, GEMMA, CODET5):
        found = groups(replace(card, hyperparameters=MINI), paper)
        assert found.keys() == IDEAS[paper].keys()
        assert set(found.values()) <= {"Taken", "Not taken"}


def test_nothing_is_claimed_of_training_that_was_not_recorded(card):
    found = groups(replace(card, hyperparameters={}), GEMMA)
    assert "Taken" not in found.values()
    assert "Not recorded" in found.values()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"objective.hardness": "all_negatives"}, "hard negatives that weigh more"),
        ({"objective.spread_out": 0.1}, "a loss that spreads vectors out"),
    ],
)
def test_a_part_that_is_switched_on_is_taken(card, change, what):
    assert groups(replace(card, hyperparameters=MINI), GEMMA)[what] == "Not taken"
    assert groups(replace(card, hyperparameters=MINI | change), GEMMA)[what] == "Taken"


def test_one_mask_of_the_two_is_not_the_idea(card):
    half = MINI | {"objective.false_negatives.same_query": False}
    what = "no pair with the same query or document text counts as a negative"
    assert groups(replace(card, hyperparameters=half), GEMMA)[what] == "Not taken"


def test_only_a_decoder_is_read_at_its_last_token(card):
    what = "a decoder, read at its last token"
    assert groups(card, JINA)[what] == "Not taken"
    assert groups(replace(card, pooling="lasttoken"), JINA)[what] == "Taken"


def test_the_paper_on_three_parts_of_which_none_is_here_claims_nothing(card):
    assert set(groups(replace(card, hyperparameters=MINI), CODET5).values()) == {"Not taken"}


def test_the_fields_that_are_asked_about_are_fields_of_a_recipe(card):
    """A renamed field would read as "Not taken" for ever."""
    from dataclasses import asdict

    from codequarry.recipes.schema import LossTerms, Matching

    objective = asdict(LossTerms(matching=Matching("a/b")))
    flat = {f"objective.{name}" for name in objective} | {
        f"objective.{table}.{name}" for table in ("false_negatives", "matching") for name in objective[table]
    }
    assert MINI.keys() <= flat
