import subprocess
from pathlib import Path

import pytest

from codequarry.modules.tasks import SIDES, TASKS, get_task, prompt_name, prompts

ROOT = Path(__file__).parents[2]


def test_there_are_five_tasks_and_twelve_prompts() -> None:
    assert list(TASKS) == ["nl2code", "qa", "code2code", "code2nl", "code2completion"]
    assert set(prompts()) == {f"{task}_{side}" for task in TASKS for side in SIDES} | {"query", "document"}


@pytest.mark.parametrize("task", TASKS.values(), ids=lambda task: task.name)
def test_every_prefix_ends_its_line_so_that_the_text_starts_a_new_one(task) -> None:
    for side in SIDES:
        assert task.prefix(side).endswith(":\n")
        assert task.prefix(side).count("\n") == 1
    assert task.query != task.document


def test_plain_query_and_document_are_those_of_nl2code() -> None:
    assert prompts()["query"] == prompts()["nl2code_query"]
    assert prompts()["document"] == prompts()["nl2code_document"]


def test_an_unknown_task_or_side_is_answered_with_the_nearest_right_one() -> None:
    with pytest.raises(ValueError, match=r"did you mean 'code2code'\?"):
        get_task("code2cod")
    with pytest.raises(ValueError, match="is not a side"):
        prompt_name("qa", "passage")  # type: ignore[arg-type]


def test_a_prefix_is_written_down_in_one_file_only() -> None:
    listed = ["git", "ls-files", "*.py", "*.toml", "*.md", ":!models"]  # what is released is rendered
    files = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for text in {text.strip() for text in prompts().values()}:
        holders = [file for file in files if (ROOT / file).is_file() and text in (ROOT / file).read_text()]
        assert holders in (["modules/tasks.py"], ["README.md", "modules/tasks.py"]), text
