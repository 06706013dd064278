"""What contenders cost is measured by what each does."""

from typing import Any

import pytest

from codequarry.benchmarks.cascade import CASCADE, SECOND_STAGE
from codequarry.benchmarks.cost import QUERIES, Cost, cost_table, costs_on, together
from codequarry.benchmarks.evaluate import measure
from codequarry.benchmarks.models import BenchmarkModel, load_model
from codequarry.data.eval_set import EvalSet
from codequarry.inference.open import open_static


@pytest.fixture(scope="module")
def costs(functions: EvalSet, minilm_model: BenchmarkModel) -> dict[str, Cost]:
    pico, first = load_model("pico", device="cpu"), open_static()
    assert first is not None
    models = [pico, minilm_model]
    stored = {model.label: model.stored_vectors(None, progress=False) for model in models}
    texts = list(functions.documents.values()), list(functions.queries.values())
    found = costs_on(*texts, "nl2code", first, models, stored)
    return {one.model: one for one in found}


def test_every_contender_has_a_cost_and_the_first_stage_is_the_cheap_one(
    costs: dict[str, Cost], minilm_model: BenchmarkModel
) -> None:
    strong = minilm_model.label
    assert list(costs) == ["BM25", SECOND_STAGE, "pico", strong, f"{CASCADE}{strong}"]
    each = {name: one.record() for name, one in costs.items()}
    assert each["pico"]["document_ms"] < each[SECOND_STAGE]["document_ms"] < each[strong]["document_ms"]
    assert each[f"{CASCADE}{strong}"]["document_ms"] == each[SECOND_STAGE]["document_ms"]
    assert each[f"{CASCADE}{strong}"]["query_ms"] > each[strong]["query_ms"] > each["pico"]["query_ms"]


def test_a_model_is_timed_on_the_candidates_of_a_few_queries(
    costs: dict[str, Cost], functions: EvalSet, minilm_model: BenchmarkModel
) -> None:
    assert costs[minilm_model.label].documents == QUERIES * len(functions.documents)
    assert {one.queries for one in costs.values()} == {QUERIES}


def test_sets_count_by_their_documents_and_queries() -> None:
    (both,) = together([Cost("mini", 10, 1.0, 5, 1.0), Cost("mini", 30, 1.0, 5, 2.0)])
    assert both.record() == {
        "model": "mini", "documents": 40, "document_ms": 50.0, "queries": 10, "query_ms": 300.0,
    }  # fmt: skip
    assert cost_table([both.record()], {"mini": 0.657}).splitlines()[-1].split() == [
        "mini",
        "65.7",
        "50.00",
        "300.0",
    ]


def test_costs_are_measured_with_the_cascade_alone(functions: EvalSet, minilm_model: BenchmarkModel) -> None:
    def costs_of(**settings: Any) -> list[str]:
        measured = measure([functions], [minilm_model], progress=False, **settings)
        return [row["model"] for row in measured.costs]

    assert costs_of() == []
    assert costs_of(cascade=True) == [
        "BM25",
        SECOND_STAGE,
        minilm_model.label,
        f"{CASCADE}{minilm_model.label}",
    ]
