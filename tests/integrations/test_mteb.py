from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.types import PromptType

from codequarry.benchmarks.mteb_tasks import BENCHMARK, LocalTask, official_tasks
from codequarry.data.catalog.registry import EVAL_SOURCES
from codequarry.data.eval_set import EvalSet
from codequarry.integrations.mteb import (
    BENCHMARK_TASKS,
    MtebEncoder,
    benchmark_task,
    counts_in_mean,
    task_prompt,
)
from codequarry.modules.build import build_model
from codequarry.modules.tasks import FAMILIES, TASKS

TEXTS = {"q0": "sort a list", "q1": "parse a date", "q2": "open a socket"}

CODE = {
    "d0": "sorted(values)",
    "d1": "datetime.fromisoformat(text)",
    "d2": "socket.create_connection(address)",
}


@pytest.fixture(scope="module")
def model(minilm: Path) -> Any:
    return build_model(str(minilm), pooling="mean")


def test_each_side_of_an_official_task_gets_the_prompt_of_our_task(model: Any) -> None:
    (task,) = official_tasks(["CosQA"])
    encoder = MtebEncoder(model)
    where = {"task_metadata": task.metadata, "hf_split": "test", "hf_subset": "default"}
    batches = [{"text": list(TEXTS.values())[:2]}, {"text": list(TEXTS.values())[2:]}]
    for kind, expected in (
        (PromptType.query, model.encode_query(list(TEXTS.values()), task="nl2code")),
        (PromptType.document, model.encode_document(list(TEXTS.values()), task="nl2code")),
    ):
        found = encoder.encode(batches, prompt_type=kind, **where)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_mteb_scores_an_official_task_with_those_vectors(model: Any) -> None:
    (task,) = official_tasks(["CosQA"])
    local = LocalTask(EvalSet("CosQA", "nl2code", TEXTS, CODE, {f"q{n}": {f"d{2 - n}": 1} for n in range(3)}))
    task.dataset, task.data_loaded = local.dataset, True
    result = mteb.evaluate(MtebEncoder(model), [task], cache=None, show_progress_bar=False)
    scores = (
        model.encode_query(list(TEXTS.values()), task="nl2code")
        @ model.encode_document(list(CODE.values()), task="nl2code").T
    )
    wanted = scores[np.arange(3), [2, 1, 0]][:, None]
    ndcg = (1 / np.log2(1 + (scores >= wanted).sum(1))).mean()
    assert result.task_results[0].scores["test"][0]["ndcg_at_10"] == pytest.approx(ndcg, abs=1e-4)


def test_prompts_differ_by_task_and_side() -> None:
    found = {
        task_prompt(FAMILIES["code"], name, side)
        for name in ("CosQA", "CodeFeedbackST")
        for side in ("query", "document")
    }
    assert len(found) == 4


def test_a_task_without_a_row_is_refused_before_anything_is_embedded(model: Any) -> None:
    task = LocalTask(EvalSet("a_set_of_mine", "qa", TEXTS, CODE, {name: {"d0": 1} for name in TEXTS}))
    with pytest.raises(ValueError, match="'a_set_of_mine' is not in the table of benchmark tasks"):
        mteb.evaluate(MtebEncoder(model), [task], cache=None, show_progress_bar=False)


def test_results_are_filed_under_the_name_given(model: Any) -> None:
    meta = MtebEncoder(model, name="someone/thing", revision="abc").mteb_model_meta
    assert (meta.name, meta.revision) == ("someone/thing", "abc")


def test_neither_model_nor_embedding_is_a_sentence() -> None:
    with pytest.raises(ValueError, match="neither a model nor a way to embed"):
        MtebEncoder()


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
    with pytest.raises(ValueError, match=r"'CoSQA' is not in the table.*Did you mean 'CosQA'"):
        benchmark_task("CoSQA")
