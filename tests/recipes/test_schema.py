import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codequarry.modules.losses import DIRECTIONS, Hardness, Partition
from codequarry.recipes.read import _build
from codequarry.recipes.schema import Adapter, FalseNegatives, LossTerms, Matching, Validation


def read(table: dict[str, Any]) -> LossTerms:
    terms: LossTerms = _build(LossTerms, table, where="recipe.toml")
    return terms


def test_by_default_it_is_info_nce_without_repeated_texts() -> None:
    terms = read({})
    assert terms == LossTerms()
    assert terms.directions == ("query_to_doc",)
    assert (terms.hardness, terms.spread_out, terms.matching) == ("none", 0.0, None)
    assert terms.false_negatives == FalseNegatives(same_query=True, same_document=True, margin=None)


def test_a_whole_table_is_read_and_survives_json() -> None:
    terms = read(
        {
            "directions": list(DIRECTIONS),
            "hardness": "all_negatives",
            "hardness_strength": 5,
            "spread_out": 1,
            "false_negatives": {"same_query": False, "margin": -0.1},
            "matching": {"teacher": "mini", "weight": 2, "final_weight": 0},
        }
    )
    assert terms.directions == DIRECTIONS
    assert terms.false_negatives == FalseNegatives(same_query=False, margin=-0.1)
    assert terms.matching == Matching("mini", weight=2.0, final_weight=0.0)
    assert read(json.loads(json.dumps(dataclasses.asdict(terms)))) == terms


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: LossTerms(directions=("doc_to_query",)), "lacks 'query_to_doc'"),
        (lambda: LossTerms(directions=()), "lacks 'query_to_doc'"),
        (lambda: LossTerms(directions=("query_to_doc", "query_to_doc")), "names one twice"),
        (
            lambda: LossTerms(directions=("query_to_doc", "doc_to_doc"), partition="per_direction"),
            "'doc_to_doc' with partition = 'per_direction' would be a softmax without a right answer",
        ),
        (lambda: LossTerms(hardness="all_negatives"), "weighs nothing: set both, or neither"),
        (lambda: LossTerms(hardness_strength=5.0), "hardness = 'none' with hardness_strength = 5.0"),
        (lambda: LossTerms(hardness="all_negatives", hardness_strength=-1.0), "a finite number from 0 up"),
        (lambda: LossTerms(spread_out=float("nan")), "spread_out = nan"),
        (lambda: FalseNegatives(margin=1.5), "margin = 1.5: a difference of cosines"),
        (lambda: Matching("mini", weight=-1.0), "weight = -1.0: a finite number from 0 up"),
        (lambda: Matching("mini", weight=0.0), "leave the .objective.matching. table out"),
        (lambda: read({"hardness": "all"}), "pass one of 'none', 'in_batch_negatives'"),
        (lambda: read({"directions": ["query_to_docs"]}), "pass one of 'query_to_doc'"),
    ],
)
def test_what_is_not_supported_is_refused_with_the_reason(make: Callable[[], object], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_every_table_that_is_accepted_makes_an_objective() -> None:
    """The schema refuses what the loss would refuse, and nothing else."""
    from itertools import product
    from typing import get_args

    from torch import nn

    from codequarry.modules.losses.contrastive import Objective

    made = 0
    for count, partition, hardness in product(range(1, 5), get_args(Partition), get_args(Hardness)):
        try:
            terms = LossTerms(
                directions=DIRECTIONS[:count],
                partition=partition,
                hardness=hardness,
                hardness_strength=0.0 if hardness == "none" else 1.0,
            )
        except ValueError:
            with pytest.raises(ValueError, match="per_direction"):
                Objective(
                    nn.Identity(),
                    temperature=0.05,
                    dims=(8,),
                    mini_batch_tokens=1,
                    directions=DIRECTIONS[:count],
                    partition=partition,
                )
            continue
        Objective(
            nn.Identity(),
            temperature=0.05,
            dims=(8,),
            mini_batch_tokens=1,
            directions=terms.directions,
            partition=terms.partition,
            hardness=terms.hardness,
            hardness_strength=terms.hardness_strength,
        )
        made += 1
    assert made == 4 * 5


def test_the_package_still_starts_without_torch() -> None:
    import subprocess
    import sys

    program = "import sys, codequarry.recipes.schema; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=Path(__file__).parent).returncode == 0


def test_the_defaults_stand() -> None:
    Validation().check(save_steps=100, matryoshka_dims=(384, 128))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"every_steps": 0}, "every_steps = 0: at least 1"),
        ({"patience": 0}, "patience = 0: at least 1"),
        ({"share": 1.0}, "above 0 and below 1"),
        ({"metric": "nl2cod_ndcg@10"}, "Did you mean 'nl2code_ndcg@10'?"),
        ({"metric": "mean_64_ndcg@10", "dims": (128,)}, "with dims = [128]. Did you mean"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError, match=r"^validation: ") as error:
        Validation(**fields)  # type: ignore[arg-type]
    assert sentence in str(error.value)


def test_any_score_that_will_be_there_may_decide() -> None:
    assert Validation(metric="qa_ndcg@10").metric == "qa_ndcg@10"
    assert Validation(metric="mean_128_ndcg@10", dims=(128,)).dims == (128,)


def test_checkpoints_between_validations_are_refused_with_a_number_that_works() -> None:
    with pytest.raises(ValueError, match="--set save_steps=120"):
        Validation(every_steps=40).check(save_steps=100, matryoshka_dims=(384,))
    Validation(every_steps=40).check(save_steps=120, matryoshka_dims=(384,))


def test_a_run_that_keeps_its_last_checkpoint_may_save_at_any_step() -> None:
    Validation(every_steps=100, keep="last").check(save_steps=10, matryoshka_dims=(384,))
    with pytest.raises(ValueError, match="patience = 3 with keep = 'last'"):
        Validation(keep="last", patience=3)


def test_a_dimension_that_does_not_train_is_refused() -> None:
    with pytest.raises(ValueError, match="has 100, which is not among"):
        Validation(dims=(128, 100)).check(save_steps=100, matryoshka_dims=(384, 128))


def test_an_empty_table_is_a_whole_adapter() -> None:
    assert Adapter() == Adapter(rank=16, alpha=32.0, dropout=0.0, targets=("all-linear",))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"rank": 0}, "rank = 0: at least 1"),
        ({"alpha": 0.0}, "alpha = 0.0"),
        ({"dropout": 1.0}, "dropout = 1.0"),
        ({"targets": ()}, "targets is empty"),
        ({"targets": ("all-linear", "q_proj")}, "already holds q_proj"),
    ],
)
def test_what_cannot_be_trained_is_refused_with_its_field(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=f"lora: .*{sentence}"):
        Adapter(**fields)
