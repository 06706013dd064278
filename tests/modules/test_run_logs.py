"""Which logs are written; TensorBoard's with a stand-in for its writer, through transformers' own calls."""

import importlib.util
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from codequarry.modules.run_logs import chosen_logs, log_callbacks

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
    monkeypatch.setattr(
        "codequarry.modules.run_logs.find_spec", lambda name: name if name in present else None
    )


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
        (["wanbd"], "did you mean 'wandb'?"),
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
