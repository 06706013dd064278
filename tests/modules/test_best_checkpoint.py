"""Early stopping and the best checkpoint in the real trainer, with scores written down beforehand."""

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

from codequarry.modules.best_checkpoint import BestCheckpoint
from codequarry.modules.build import build_model
from codequarry.modules.checkpoints import newest_complete
from codequarry.training.trainer import PairTrainer

METRIC = "mean_ndcg@10"


class Written(SentenceEvaluator):
    """Scores by step, and the weights at each."""

    def __init__(self, scores: dict[int, float]) -> None:
        super().__init__()
        self.scores = scores
        self.weights: dict[int, torch.Tensor] = {}

    def __call__(self, model: Any, *_: Any, steps: int = -1, **__: Any) -> dict[str, float]:
        self.weights[steps] = some_weight(model).clone()
        return {METRIC: self.scores[steps]}


def some_weight(model: Any) -> torch.Tensor:
    weight: torch.Tensor = model.state_dict()["0.model.layers.0.mlp.up_proj.weight"]
    return weight


def trainer(
    backbone: Path,
    out: Path,
    scores: dict[int, float],
    *,
    patience: int | None,
    save_steps: int,
    steps: int = 8,
) -> tuple[PairTrainer, Written]:
    torch.manual_seed(0)
    model = build_model(str(backbone), max_length=96, device="cpu")
    rows = {"query": [f"q {n}" for n in range(32)], "document": [f"d {n}" for n in range(32)]}
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(out),
        per_device_train_batch_size=4,
        max_steps=steps,
        learning_rate=1e-2,
        use_cpu=True,
        dataloader_drop_last=True,
        report_to="none",
        disable_tqdm=True,
        logging_steps=1,
        save_steps=save_steps,
        save_total_limit=2,
        eval_strategy="steps",
        eval_steps=1,
        load_best_model_at_end=True,
        metric_for_best_model=METRIC,
        greater_is_better=True,
        restore_callback_states_from_checkpoint=True,
    )
    written = Written(scores)
    made = PairTrainer(
        model=model,
        args=arguments,
        train_dataset={"s:qa": Dataset.from_dict(rows)},
        loss=MultipleNegativesRankingLoss(model),
        evaluator=written,
        callbacks=[BestCheckpoint(patience)],
    )
    return made, written


def numbered(*scores: float) -> dict[int, float]:
    return dict(enumerate(scores, 1))


def test_the_best_step_becomes_the_model_though_no_save_was_due(small_decoder: Path, tmp_path: Path) -> None:
    scores = numbered(0.2, 0.3, 0.9, 0.4, 0.5, 0.6, 0.7, 0.8)
    made, written = trainer(small_decoder, tmp_path, scores, patience=None, save_steps=4)
    made.train()
    assert made.state.global_step == 8, "patience None stops nothing"
    assert made.state.best_global_step == 3
    assert torch.equal(some_weight(made.model), written.weights[3])
    assert not torch.equal(some_weight(made.model), written.weights[8])
    kept = {folder.name for folder in tmp_path.glob("checkpoint-*")}
    assert {"checkpoint-3", "checkpoint-8"} <= kept, "the best one to load, the last one to resume from"


def test_the_run_ends_when_patience_is_over(small_decoder: Path, tmp_path: Path) -> None:
    scores = numbered(0.2, 0.5, 0.4, 0.5, 0.3, 0.9, 0.9, 0.9)
    made, written = trainer(small_decoder, tmp_path, scores, patience=3, save_steps=4)
    made.train()
    assert made.state.global_step == 5, "three validations without a new best: 3, 4, 5"
    assert torch.equal(some_weight(made.model), written.weights[2])


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_run_that_was_killed_stops_where_it_would_have(
    small_decoder: Path, tmp_path: Path, cut: int
) -> None:
    """Killed after step `cut`: whatever was not in a checkpoint is lost."""
    scores = numbered(0.2, 0.5, 0.4, 0.45, 0.3, 0.9, 0.9, 0.9)
    whole, written = trainer(small_decoder, tmp_path / "whole", scores, patience=3, save_steps=2)
    whole.train()
    first, _ = trainer(small_decoder, tmp_path / "cut", scores, patience=3, save_steps=2)
    kill_after(first, cut)
    with pytest.raises(RuntimeError, match="killed"):
        first.train()
    second, _ = trainer(small_decoder, tmp_path / "cut", scores, patience=3, save_steps=2)
    second.train(resume_from_checkpoint=str(newest_complete(tmp_path / "cut")))
    assert second.state.global_step == whole.state.global_step == 5
    assert torch.equal(some_weight(second.model), some_weight(whole.model))
    assert torch.equal(some_weight(second.model), written.weights[2])


def kill_after(made: PairTrainer, step: int) -> None:
    inner = made.training_step

    def stop(*args: Any, **kwargs: Any) -> torch.Tensor:
        if made.state.global_step == step:
            raise RuntimeError("killed")
        return inner(*args, **kwargs)

    made.training_step = stop  # type: ignore[method-assign]


def test_killed_between_the_last_save_and_the_model_it_ends_with_the_same_model(
    small_decoder: Path, tmp_path: Path
) -> None:
    scores = numbered(0.2, 0.5, 0.4, 0.3, 0.9, 0.9, 0.9, 0.9)
    first, written = trainer(small_decoder, tmp_path, scores, patience=2, save_steps=2)
    first.train()
    assert first.state.global_step == 4
    again, _ = trainer(small_decoder, tmp_path, scores, patience=2, save_steps=2)
    checkpoint = newest_complete(tmp_path)
    assert checkpoint is not None
    assert checkpoint.name == "checkpoint-4"
    again.train(resume_from_checkpoint=str(checkpoint))
    assert again.state.global_step == 4, "no further step"
    scored = [entry["step"] for entry in again.state.log_history if f"eval_{METRIC}" in entry]
    assert scored == [1, 2, 3, 4], "nor a second validation of the last one"
    assert torch.equal(some_weight(again.model), written.weights[2]), "0.9 at step 5 would be another model"


def test_the_best_is_found_in_a_folder_that_was_moved(small_decoder: Path, tmp_path: Path) -> None:
    scores = numbered(0.2, 0.9, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    first, written = trainer(small_decoder, tmp_path / "here", scores, patience=None, save_steps=2, steps=8)
    kill_after(first, 6)
    with pytest.raises(RuntimeError, match="killed"):
        first.train()
    (tmp_path / "here").rename(tmp_path / "there")
    second, _ = trainer(small_decoder, tmp_path / "there", scores, patience=None, save_steps=2, steps=8)
    second.train(resume_from_checkpoint=str(newest_complete(tmp_path / "there")))
    assert (tmp_path / "there/checkpoint-2").is_dir()
    assert torch.equal(some_weight(second.model), written.weights[2])


def test_a_best_checkpoint_that_is_gone_is_named(
    small_decoder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scores = numbered(0.2, 0.9, 0.3, 0.4, 0.5, 0.6, 0.7, 0.65)
    first, _ = trainer(small_decoder, tmp_path, scores, patience=None, save_steps=2, steps=8)
    kill_after(first, 6)
    with pytest.raises(RuntimeError, match="killed"):
        first.train()
    (tmp_path / "checkpoint-2").rename(tmp_path / "lost")
    second, written = trainer(small_decoder, tmp_path, scores, patience=None, save_steps=2, steps=8)
    with caplog.at_level(logging.WARNING, logger="codequarry"):
        second.train(resume_from_checkpoint=str(newest_complete(tmp_path)))
    assert "checkpoint-2, the best so far (mean_ndcg@10 0.9000), is gone" in caplog.text
    assert torch.equal(some_weight(second.model), written.weights[7])
    state = json.loads((tmp_path / "checkpoint-8/trainer_state.json").read_text())
    assert state["best_global_step"] == 7
