import inspect
import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from safetensors.numpy import load_file
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import TrainerCallback

from codequarry.inference.load import load
from codequarry.modules.backbone import DecoderShape
from codequarry.modules.build import build_model
from codequarry.modules.random_backbone import train_tokenizer, write_random_backbone
from codequarry.modules.saved_folder import card_text
from codequarry.training.callbacks import Stopped
from codequarry.training.checkpoints import newest_complete
from codequarry.training.trainer import FiniteSteps, NotFiniteError, PairTrainer, check_weights

STEPS = 6

SHAPE = DecoderShape(hidden_size=32, layers=1, heads=2, kv_heads=1, intermediate_size=64, vocabulary=400)


class Loss(MultipleNegativesRankingLoss):
    """InfoNCE that tells a term, and does `at` the step it is told something else."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.progress = -1.0
        self.seen: list[float] = []
        self.last_terms: dict[str, torch.Tensor] = {}
        self.at: dict[int, Callable[[torch.Tensor], torch.Tensor]] = {}

    def forward(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss: torch.Tensor = super().forward(*args, **kwargs)
        self.seen.append(self.progress)
        self.last_terms = {"info_nce": loss.detach() / 3}
        return self.at.get(round(self.progress * STEPS) + 1, lambda same: same)(loss)


Make = Callable[..., PairTrainer]


@pytest.fixture
def make(small_decoder: Path, tmp_path: Path) -> Make:
    """A trainer of six steps on the same weights each time; checkpoints at 2, 4 and 6, log lines at 4."""

    def made(name: str = "out", **settings: Any) -> PairTrainer:
        torch.manual_seed(0)
        model = build_model(str(small_decoder), max_length=96, device="cpu")
        rows = {
            "query": [f"how to {n}" for n in range(32)],
            "document": [f"def do_{n}(): return {n * n}" for n in range(32)],
        }
        chosen = {
            "max_steps": STEPS,
            "save_steps": 2,
            "save_total_limit": 2,
            "logging_steps": 4,
            "learning_rate": 1e-3,
            "lr_scheduler_type": "constant",  # a step too many would change the weights
            **settings,
        }
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / name),
            per_device_train_batch_size=4,
            use_cpu=True,
            dataloader_drop_last=True,
            report_to="none",
            disable_tqdm=True,
            **chosen,
        )
        sources = {"s:qa": Dataset.from_dict(rows)}
        return PairTrainer(model=model, args=arguments, train_dataset=sources, loss=Loss(model))

    return made


def folder(trainer: PairTrainer) -> Path:
    return Path(str(trainer.args.output_dir))


def history(trainer: PairTrainer) -> list[dict[str, float]]:
    return [
        {key: value for key, value in entry.items() if not key.endswith(("_runtime", "_per_second"))}
        for entry in trainer.state.log_history
    ]


def weights(trainer: PairTrainer) -> dict[str, torch.Tensor]:
    assert trainer.model is not None
    return {name: weight.clone() for name, weight in trainer.model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weight, other[name]) for name, weight in one.items())


def at_step_begin(step: int, act: Callable[[], None]) -> TrainerCallback:
    class Acts(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == step - 1:
                act()

    return Acts()


def test_a_rank_that_is_not_to_save_writes_nothing(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make()
    monkeypatch.setattr(type(trainer.args), "should_save", False)
    trainer.save_model(str(tmp_path / "other rank"))
    assert not (tmp_path / "other rank").exists()
    monkeypatch.setattr(type(trainer.args), "should_save", True)
    trainer.save_model(str(tmp_path / "rank 0"))
    assert (tmp_path / "rank 0/model.safetensors").exists()


def test_a_run_that_goes_on_equals_one_that_was_never_stopped(make: Make) -> None:
    """Losses, their terms, drawn sources, weights and log lines; at 2 it goes on between two log lines."""
    calm = make("calm", save_total_limit=None)
    whole = calm.train()
    assert [entry["step"] for entry in history(calm)] == [4, 6], "one line, and the last one of the run"
    for step in (2, 4, 6):
        again = make("again")
        result = again.train(resume_from_checkpoint=str(folder(calm) / f"checkpoint-{step}"))
        assert result.global_step == STEPS
        assert result.training_loss == whole.training_loss
        assert history(again) == history(calm)
        assert again.drawn == calm.drawn == {"s:qa": STEPS}
        assert same(weights(again), weights(calm))
        assert again.loss.seen == [done / STEPS for done in range(step, STEPS)], "only the steps left"


def test_checkpoints_are_whole_with_a_card_that_asks_no_hub_and_only_the_newest_two_stay(make: Make) -> None:
    trainer = make()
    trainer.train()
    assert sorted(file.name for file in folder(trainer).iterdir()) == ["checkpoint-4", "checkpoint-6"]
    assert newest_complete(folder(trainer)) == folder(trainer) / "checkpoint-6"
    card = (folder(trainer) / "checkpoint-6/README.md").read_text()
    assert card == card_text(trainer.model)


def test_what_was_skipped_is_not_tokenised_again(make: Make) -> None:
    trainer = make()
    trainer.train()
    again = make()
    collate, collated = again.data_collator, []

    class Counts:
        valid_label_columns = collate.valid_label_columns

        def __call__(self, rows: list[Any]) -> Any:
            collated.append(len(rows))
            return collate(rows)

    again.data_collator = Counts()
    again.train(resume_from_checkpoint=str(folder(trainer) / "checkpoint-4"))
    assert collated == [4, 4]


def test_the_best_checkpoint_is_known_by_its_final_name_and_stays(make: Make) -> None:
    trainer = make(save_steps=1)

    class Best(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 2:
                state.best_global_step = 2

    trainer.add_callback(Best())
    trainer.train()
    best = folder(trainer) / "checkpoint-2"
    assert trainer.state.best_model_checkpoint == str(best)
    assert {file.name for file in folder(trainer).iterdir()} == {
        "checkpoint-2",
        "checkpoint-5",
        "checkpoint-6",
    }
    assert json.loads((best / "trainer_state.json").read_text())["best_model_checkpoint"] == str(best)


def test_the_terms_of_the_loss_are_logged_as_means_and_it_is_told_how_far_the_run_is(make: Make) -> None:
    trainer = make()
    trainer.train()
    line = trainer.state.log_history[0]
    assert line["info_nce"] == pytest.approx(line["loss"] / 3)
    assert trainer.loss.seen == [step / STEPS for step in range(STEPS)]


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_step_that_is_no_number_is_neither_applied_nor_saved(make: Make, bad: float) -> None:
    calm = make("calm", max_steps=STEPS)
    calm.add_callback(at_step_begin(4, lambda: before.update(weights(calm))))
    before: dict[str, torch.Tensor] = {}
    calm.train()
    trainer = make()
    trainer.loss.at[4] = lambda loss: loss * bad
    with pytest.raises(
        ValueError,
        match=r"of step 4 is infinite or not a number, and none of it was kept\. Step 2 is kept in "
        r".*checkpoint-2\. .* lower learning_rate \(it is 0\.001\)",
    ):
        trainer.train()
    assert same(weights(trainer), before)
    kept = newest_complete(folder(trainer))
    assert kept == folder(trainer) / "checkpoint-2"
    assert all(np.isfinite(weight).all() for weight in load_file(kept / "model.safetensors").values())


def test_weights_that_are_no_numbers_are_not_saved(make: Make) -> None:
    trainer = make()

    class Breaks(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 4:
                with torch.no_grad():
                    next(iter(trainer.model.parameters()))[0, 0] = torch.nan

    trainer.add_callback(Breaks())
    with pytest.raises(ValueError, match="after step 4 a weight is infinite or not a number"):
        trainer.train()
    assert newest_complete(folder(trainer)) == folder(trainer) / "checkpoint-2"


def test_memory_that_runs_out_is_told_with_the_step_and_what_to_lower(make: Make) -> None:
    trainer = make()
    trainer.loss.at[4] = lambda loss: loss + torch.empty(1 << 50).sum()
    with pytest.raises(
        ValueError,
        match=r"out of memory in step 4: .*can't allocate memory.*Step 2 is kept.*Set grad_cache=on or lower "
        ".*set memory_gb",
    ):
        trainer.train()
    early = make("early")
    early.loss.at[1] = lambda loss: loss + torch.empty(1 << 50).sum()
    with pytest.raises(ValueError, match="No checkpoint had been written yet"):
        early.train()
    assert newest_complete(folder(trainer)) == folder(trainer) / "checkpoint-2"


def test_a_full_disk_as_user_error_and_the_run_goes_on_once_there_is_room(make: Make) -> None:
    calm, trainer = make("calm"), make()
    calm.train()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    full = at_step_begin(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard)))
    trainer.add_callback(full)
    try:
        with pytest.raises(
            ValueError,
            match=r"the checkpoint of step 4 was not written to .* Step 2 is kept in .* The same command",
        ):
            trainer.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [file.name for file in folder(trainer).iterdir()] == ["checkpoint-2"], "the room is given back"
    again = make()
    again.train(resume_from_checkpoint=str(newest_complete(folder(trainer))))
    assert same(weights(again), weights(calm))


@pytest.mark.parametrize("signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGTERM, signal.SIGTERM]])
def test_asked_to_stop_a_run_finishes_its_step_saves_and_says_how_to_go_on(
    make: Make, signals: list[signal.Signals]
) -> None:
    calm, trainer = make("calm"), make()
    calm.train()
    handlers = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    trainer.add_callback(at_step_begin(3, lambda: [os.kill(os.getpid(), one) for one in signals] and None))
    with pytest.raises(Stopped, match="stopped after step 3 of 6; the same command"):
        trainer.train()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == handlers
    kept = newest_complete(folder(trainer))
    assert kept == folder(trainer) / "checkpoint-3"
    again = make()
    again.train(resume_from_checkpoint=str(kept))
    assert history(again) == history(calm)
    assert same(weights(again), weights(calm))


def test_a_second_ctrl_c_stops_at_once(make: Make) -> None:
    trainer = make()
    trainer.add_callback(
        at_step_begin(3, lambda: [os.kill(os.getpid(), signal.SIGINT) for _ in "12"] and None)
    )
    with pytest.raises(KeyboardInterrupt) as caught:
        trainer.train()
    assert not isinstance(caught.value, Stopped)
    assert newest_complete(folder(trainer)) == folder(trainer) / "checkpoint-2"


def test_asked_to_stop_in_its_last_step_a_run_is_simply_done(make: Make) -> None:
    trainer = make()
    trainer.add_callback(at_step_begin(STEPS, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    assert trainer.train().global_step == STEPS


def test_the_seconds_of_all_sittings_are_added_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = make()
    trainer.train()
    counts = folder(trainer) / "checkpoint-4/counts_0.json"
    record = json.loads(counts.read_text())
    assert 0 < record["seconds"] <= trainer.seconds
    counts.write_text(json.dumps(record | {"seconds": 1000.0}))
    again = make()
    result = again.train(resume_from_checkpoint=str(counts.parent))
    assert 1000 < result.metrics["train_runtime"] < 1100
    assert again.seconds > 1000


def test_a_new_run_begins_at_nothing(make: Make) -> None:
    trainer = make()
    trainer.train()
    trainer.train()
    assert trainer.drawn == {"s:qa": STEPS}


def test_the_end_of_sequence_row_is_trained_in_every_stage_also_where_it_pads(tmp_path: Path) -> None:
    """Trap of Qwen2's base models: from the second stage on the row of the pad token had no gradient."""
    tokenizer = train_tokenizer([inspect.getsource(inspect)], SHAPE.vocabulary)
    tokenizer.pad_token = tokenizer.eos_token
    backbone = write_random_backbone(tmp_path / "backbone", SHAPE, tokenizer, seed=1)
    model = build_model(str(backbone), max_length=96, device="cpu")
    # Where a vocabulary has a token for padding it is used, and there is no trap: take it away again.
    model.tokenizer.pad_token = model.tokenizer.eos_token
    end = model.tokenizer.eos_token_id
    model.config.pad_token_id = end
    rows = {"query": [f"q {n}" for n in range(8)], "document": [f"d {n}" for n in range(8)]}
    for stage in ("first", "second", "third"):
        lengths: list[float] = []
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / stage),
            per_device_train_batch_size=4,
            max_steps=2,
            use_cpu=True,
            dataloader_drop_last=True,
            report_to="none",
            disable_tqdm=True,
        )

        class Looks(TrainerCallback):
            def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **known: Any) -> None:
                rows = known["model"].transformers_model.get_input_embeddings().weight.grad
                lengths.append(float(rows[end].norm()))  # noqa: B023

        sources = {"s:qa": Dataset.from_dict(rows)}
        PairTrainer(
            model=model, args=arguments, train_dataset=sources, loss=Loss(model), callbacks=[Looks()]
        ).train()
        assert len(lengths) == 2
        assert all(length > 0 for length in lengths), stage
        model.save(str(tmp_path / f"{stage} model"))
        assert json.loads((tmp_path / f"{stage} model/config.json").read_text())["pad_token_id"] == end
        model = load(str(tmp_path / f"{stage} model"), device="cpu")


FINE = torch.tensor(1.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["loss", "length"])
def test_a_bad_loss_or_gradient_is_refused_at_once_by_its_step(bad: float, where: str) -> None:
    steps = FiniteSteps(at_once=True)
    steps.see(1, FINE, FINE)
    with pytest.raises(NotFiniteError, match="step 2 is infinite or not a number"):
        steps.see(2, **({"loss": FINE, "length": FINE} | {where: torch.tensor(bad)}))


def test_a_gpu_notes_the_first_bad_step_until_somebody_looks() -> None:
    steps = FiniteSteps(at_once=False)
    for step, loss in enumerate((1.0, torch.nan, 1.0, torch.inf), start=1):
        steps.see(step, torch.tensor(loss), FINE)
    with pytest.raises(NotFiniteError, match="step 2 "):
        steps.check()
    steps.see(5, FINE, FINE)
    steps.check()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_one_bad_weight_among_many_is_found(bad: float) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2))
    check_weights(model, 7)
    with torch.no_grad():
        model[1].weight[1, 2] = bad
    with pytest.raises(NotFiniteError, match="after step 7 a weight is infinite or not a number"):
        check_weights(model, 7)
