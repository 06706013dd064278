"""Early stopping and the best checkpoint in the real trainer, with scores written down beforehand."""

import importlib.util
import json
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.evaluation import SentenceEvaluator
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import TrainerControl, TrainerState, TrainingArguments

from codequarry.modules.build import build_model
from codequarry.training.build import chosen_logs
from codequarry.training.callbacks import BestCheckpoint, SafeStop, log_callbacks
from codequarry.training.checkpoints import newest_complete
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


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)
    time.sleep(0)  # handlers run between two lines of Python


def test_outside_of_it_signals_do_what_they_did(capfd: pytest.CaptureFixture[str]) -> None:
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    stop = SafeStop()
    with stop:
        send(signal.SIGINT)
        assert stop.asked
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert capfd.readouterr().err.count("finishing this step, then saving; Ctrl-C again stops at once.") == 1
    with stop:
        assert not stop.asked, "the next run begins unasked"


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_at_once_when_the_run_was_asked_before_but_sigterm_never_does(
    first: signal.Signals,
) -> None:
    with SafeStop():
        send(first)
        send(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)


def test_a_data_loaders_worker_leaves_the_decision_to_its_parent() -> None:
    with SafeStop() as stop:
        child = os.fork()
        if child == 0:
            send(signal.SIGINT)
            send(signal.SIGINT)
            os._exit(int(stop.asked))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_in_a_thread_of_a_larger_program_signals_are_left_to_that_program() -> None:
    seen = []

    def enters() -> None:
        with SafeStop():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enters)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]


WRITER = """
import json, pathlib

class SummaryWriter:
    def __init__(self, log_dir, purge_step=None):
        self.file = pathlib.Path(log_dir) / "events.jsonl"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._write("open", purge_step, None)
    def _write(self, *row):
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\\n")
    def add_scalar(self, name, value, step):
        self._write(name, value, step)
    def add_text(self, name, text, step=None):
        pass
    def flush(self):
        pass
    def close(self):
        pass
"""


@pytest.fixture
def tensorboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package of tensorboardX's name and one class of its interface, first on the path."""
    if importlib.util.find_spec("tensorboard") is not None:
        pytest.skip("the real one is installed")
    (tmp_path / "packages/tensorboardX").mkdir(parents=True)
    (tmp_path / "packages/tensorboardX/__init__.py").write_text(WRITER)
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.delitem(sys.modules, "tensorboardX", raising=False)
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)


def missing(monkeypatch: pytest.MonkeyPatch, *present: str) -> None:
    monkeypatch.setattr("codequarry.training.build.find_spec", lambda name: name if name in present else None)


def test_only_files_beside_the_model_are_written_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, "tensorboard", "wandb", "trackio")
    assert chosen_logs() == ("tensorboard",)
    assert chosen_logs(["none"]) == ()
    assert chosen_logs(["wandb"]) == ("wandb",)
    assert chosen_logs(["trackio", "tensorboard"]) == ("tensorboard", "trackio")
    missing(monkeypatch, "wandb", "trackio")
    assert chosen_logs() == ()
    missing(monkeypatch, "tensorboardX")
    assert chosen_logs() == ("tensorboard",)


@pytest.mark.parametrize(
    ("named", "sentence"),
    [
        (["trackio"], "trackio was asked for and is not installed: pip install trackio"),
        (["wanbd"], "Did you mean 'wandb'?"),
        (["none", "tensorboard"], "none and tensorboard were both asked for"),
    ],
)
def test_a_log_that_cannot_be_written_is_refused(
    named: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing(monkeypatch, "tensorboard")
    with pytest.raises(ValueError) as error:  # noqa: PT011 (compared below)
        chosen_logs(named)
    assert sentence in str(error.value)


def events(out: Path) -> list[list[Any]]:
    return [json.loads(line) for line in (out / "tensorboard/events.jsonl").read_text().splitlines()]


def log(out: Path, step: int, **logs: float) -> None:
    """What the trainer calls, from the start of a run to one line of it."""
    arguments = TrainingArguments(output_dir=str(out / "checkpoints"), report_to="none", use_cpu=True)
    for callback in log_callbacks(chosen_logs(), out):
        state = TrainerState(global_step=step)
        callback.on_train_begin(arguments, state, TrainerControl())
        callback.on_log(arguments, state, TrainerControl(), logs=logs)
        callback.on_train_end(arguments, state, TrainerControl())


@pytest.mark.usefixtures("tensorboard")
def test_tensorboard_gets_every_number_in_the_runs_folder(tmp_path: Path) -> None:
    log(tmp_path, 0, **{"loss": 0.5, "eval_mean_ndcg@10": 0.7})
    assert events(tmp_path) == [["open", None, None], ["train/loss", 0.5, 0], ["eval/mean_ndcg@10", 0.7, 0]]


@pytest.mark.usefixtures("tensorboard")
def test_a_resumed_run_takes_back_what_it_will_log_again(tmp_path: Path) -> None:
    log(tmp_path, 0, loss=0.5)
    log(tmp_path, 40, loss=0.4)
    assert [row for row in events(tmp_path) if row[0] == "open"] == [["open", None, None], ["open", 41, None]]


@pytest.mark.usefixtures("tensorboard")
def test_the_environment_names_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "elsewhere"))
    log(tmp_path, 0, loss=0.5)
    assert (tmp_path / "elsewhere/events.jsonl").is_file()
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.usefixtures("tensorboard")
def test_another_rank_writes_nothing(tmp_path: Path) -> None:
    (callback,) = log_callbacks(chosen_logs(), tmp_path)
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    callback.on_train_begin(arguments, TrainerState(is_world_process_zero=False), TrainerControl())
    assert not (tmp_path / "tensorboard").exists()


@pytest.mark.parametrize("name", ["trackio", "wandb"])
def test_a_service_that_was_named_gets_the_projects_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec(name) is not None:
        pytest.skip("the real one is installed")
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").write_text("run = None\n__version__ = '1.0'\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delenv(f"{name.upper()}_PROJECT", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    (callback,) = log_callbacks(chosen_logs([name]), tmp_path)
    assert type(callback).__name__.lower() == f"{name}callback"
    assert os.environ[f"{name.upper()}_PROJECT"] == "codequarry"
