import subprocess
from pathlib import Path

import pytest

from codequarry.modules.tasks import (
    CODE,
    DEFAULT_TASK,
    FAMILIES,
    SIDES,
    TASKS,
    PromptFamily,
    family_of,
    get_family,
    get_task,
    prompt_name,
    wrong_prompts,
)

ROOT = Path(__file__).parents[2]
OTHER = PromptFamily(None, {task: (f"{task} | query: ", "title: none | text: ") for task in TASKS}, "qa")


def test_there_are_five_tasks_and_twelve_prompts() -> None:
    assert list(TASKS) == ["nl2code", "qa", "code2code", "code2nl", "code2completion"]
    assert set(CODE.prompts()) == {f"{task}_{side}" for task in TASKS for side in SIDES} | {
        "query",
        "document",
    }


@pytest.mark.parametrize("task", TASKS)
def test_every_prefix_ends_its_line_so_that_the_text_starts_a_new_one(task: str) -> None:
    for side in SIDES:
        assert CODE.prefix(task, side).endswith(":\n")
        assert CODE.prefix(task, side).count("\n") == 1
    assert CODE.prefix(task, "query") != CODE.prefix(task, "document")


def test_plain_query_and_document_are_those_of_the_default_task() -> None:
    assert CODE.default_task == DEFAULT_TASK
    for family in (CODE, OTHER):
        for side in SIDES:
            assert family.prompts()[side] == family.prefix(family.default_task, side)


def test_an_unknown_task_side_or_family_is_answered_with_the_right_ones() -> None:
    with pytest.raises(ValueError, match=r"Did you mean 'code2code'\?"):
        get_task("code2cod")
    with pytest.raises(ValueError, match="is not a side"):
        prompt_name("qa", "passage")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'cod' is not a prompt family: the families are code"):
        get_family("cod")


def test_a_family_without_one_of_the_tasks_is_refused() -> None:
    with pytest.raises(ValueError, match="'half' has prefixes for qa: give two for each of nl2code"):
        PromptFamily("half", {"qa": ("q: ", "d: ")})


@pytest.mark.parametrize("family", [*FAMILIES.values(), OTHER], ids=lambda family: family.name)
def test_a_family_is_read_back_from_its_prompts_and_further_names_are_passed_over(
    family: PromptFamily,
) -> None:
    assert family_of(family.prompts()) == family
    assert family_of(family.prompts() | {"Clustering": "task: clustering | query: "}) == family


def swapped(prompts: dict[str, str]) -> dict[str, str]:
    """The prompts with the two sides exchanged."""
    other = {"query": "document", "document": "query"}
    return {
        name: prompts[name.replace(side, other[side])] for name in prompts for side in SIDES if side in name
    }


@pytest.mark.parametrize(
    ("saved", "wrong"),
    [
        ({}, list(CODE.prompts())),
        ({"query": "", "document": ""}, [name for name in CODE.prompts() if name not in SIDES]),
        (CODE.prompts() | {"qa_query": "Question: "}, ["qa_query"]),
        ({name: text for name, text in CODE.prompts().items() if name != "query"}, ["query"]),
        (swapped(CODE.prompts()), list(CODE.prompts())),
        (OTHER.prompts() | {"code2nl_document": None}, ["code2nl_document"]),
        (OTHER.prompts() | {"query": "something else"}, ["query", "document"]),
    ],
)
def test_prompts_that_lack_something_or_damage_a_registered_family_are_no_family(
    saved: dict[str, str | None], wrong: list[str]
) -> None:
    assert wrong_prompts(saved) == wrong
    with pytest.raises(ValueError, match=f"no whole family: {', '.join(wrong)} missing or different"):
        family_of(saved)


FILE = "modules/prompt_families.toml"


def test_a_prefix_is_written_down_in_one_file_only() -> None:
    listed = ["git", "ls-files", "*.py", "*.toml", "*.md", ":!models"]  # what is released is rendered
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for text in {text.strip() for family in FAMILIES.values() for text in family.prompts().values()}:
        holders = [file for file in files if (ROOT / file).is_file() and text in (ROOT / file).read_text()]
        assert holders in ([FILE], ["README.md", FILE]), text
