import mteb
import pytest
from mteb.abstasks.retrieval import AbsTaskRetrieval

from codequarry.benchmarks.mteb_sets import BENCHMARK, official_tasks
from codequarry.data.sources.eval_rows import EVAL_SOURCES
from codequarry.integrations.mteb_tasks import BENCHMARK_TASKS, benchmark_task, counts_in_mean
from codequarry.modules.tasks import TASKS


def test_the_official_rows_are_the_tasks_of_the_benchmark() -> None:
    official = [row.name for row in BENCHMARK_TASKS.values() if row.kind == "official"]
    assert sorted(official) == sorted(task.metadata.name for task in mteb.get_benchmark(BENCHMARK).tasks)


def test_every_further_row_is_a_retrieval_task_of_mteb_about_programs() -> None:
    names = [row.name for row in BENCHMARK_TASKS.values() if row.kind != "local"]
    for task in official_tasks(names):
        assert "Programming" in (task.metadata.domains or []), task.metadata.name
        assert isinstance(task, AbsTaskRetrieval)
        assert len(task.metadata.eval_splits) == 1  # scores are kept by subset, not by split


def test_every_code_retrieval_task_of_mteb_in_english_has_a_row() -> None:
    found = mteb.get_tasks(task_types=["Retrieval"], languages=["python-Code"], exclude_superseded=True)
    names = {task.metadata.name for task in found if task.metadata.is_public}
    assert names <= set(BENCHMARK_TASKS)


def test_the_local_rows_are_the_sets_that_can_be_built() -> None:
    local = {row.name: (row.task, row.in_mean) for row in BENCHMARK_TASKS.values() if row.kind == "local"}
    assert local == {row.name: (row.task, row.in_mean) for row in EVAL_SOURCES.values()}


def test_every_row_is_one_of_the_five_tasks() -> None:
    assert {row.task for row in BENCHMARK_TASKS.values()} == set(TASKS)


def test_the_saturated_set_alone_is_left_out_of_means() -> None:
    assert [name for name in BENCHMARK_TASKS if not counts_in_mean(name)] == ["codexglue_java_cs"]
    assert counts_in_mean("a set of my own")


def test_an_unknown_name_is_a_sentence_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'CoSQA' is not in the table.*did you mean 'CosQA'"):
        benchmark_task("CoSQA")
