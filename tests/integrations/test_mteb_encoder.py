from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from mteb.types import PromptType

from codequarry.benchmarks.mteb_sets import LocalTask, official_tasks
from codequarry.data.eval_set import EvalSet
from codequarry.integrations.mteb_encoder import MtebEncoder, task_prompt
from codequarry.modules.build import build_model
from codequarry.modules.tasks import FAMILIES

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
