import pytest

from codequarry.benchmarks.contenders import Contender
from codequarry.benchmarks.variants import WRONG_PROMPTS, has_prompts, other_task, prompt_of, variants_of
from codequarry.modules.tasks import CODE, TASKS


def test_every_task_is_swapped_with_another_and_none_twice() -> None:
    assert {other_task(task) for task in TASKS} == set(TASKS)
    assert all(other_task(task) != task for task in TASKS)


def test_swaps_take_the_other_tasks_and_the_other_sides_prefix(prompted: Contender) -> None:
    query, document = CODE.prefixes["qa"]
    assert prompt_of(prompted, "qa", "query", "own") == query
    assert prompt_of(prompted, "qa", "query", "none") == ""
    assert prompt_of(prompted, "qa", "query", "sides") == document
    assert prompt_of(prompted, "qa", "document", "task") == CODE.prefix("code2code", "document")


def test_a_model_without_prompts_has_none_that_could_be_wrong(
    prompted: Contender, minilm_contender: Contender
) -> None:
    assert has_prompts(prompted)
    assert not has_prompts(minilm_contender)
    assert not has_prompts(prompted.without_prompts())
    asked = {"dims": [64], "precisions": ["int8"], "wrong_prompts": list(WRONG_PROMPTS)}
    assert [v.name for v in variants_of(minilm_contender, **asked)] == ["64 dims", "int8"]  # type: ignore[arg-type]
    assert [v.name for v in variants_of(prompted, **asked)] == [  # type: ignore[arg-type]
        "64 dims", "int8", "no prompt", "sides swapped", "task swapped"
    ]  # fmt: skip


def test_only_the_wrong_prompts_that_were_asked_for_are_scored(prompted: Contender) -> None:
    found = variants_of(prompted, dims=[], precisions=[], wrong_prompts=["none"])
    assert [(variant.name, variant.prompts) for variant in found] == [("no prompt", "none")]


@pytest.mark.parametrize("size", [0, 385])
def test_more_dimensions_than_there_are_is_a_sentence(minilm_contender: Contender, size: int) -> None:
    with pytest.raises(ValueError, match=f"vectors of 384 numbers: they cannot be cut to {size}"):
        variants_of(minilm_contender, dims=[size], precisions=[], wrong_prompts=[])
