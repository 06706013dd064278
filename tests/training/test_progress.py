"""The progress of a training, of callbacks.py."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from transformers import TrainerControl, TrainerState

from codequarry.modules.build import build_model
from codequarry.training import callbacks
from codequarry.training.callbacks import Progress, show_progress
from codequarry.training.evaluator import ValidationScores
from codequarry.training.trainer import PairTrainer


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def make(small_decoder: Path, tmp_path: Path) -> Callable[[int], PairTrainer]:
    def make(steps: int) -> PairTrainer:
        model = build_model(str(small_decoder), max_length=96, device="cpu")
        pairs = [(f"question {n}", f"answer {n}") for n in range(32)]
        arguments = SentenceTransformerTrainingArguments(
            output_dir=str(tmp_path / "out"),
            per_device_train_batch_size=4,
            max_steps=steps,
            use_cpu=True,
            dataloader_drop_last=True,
            report_to="none",
            logging_steps=2,
            save_steps=2,
            eval_strategy="steps",
            eval_steps=2,
        )
        trainer = PairTrainer(
            model=model,
            args=arguments,
            train_dataset={
                "s:qa": Dataset.from_dict(
                    dict(zip(("query", "document"), zip(*pairs, strict=True), strict=True))
                )
            },
            loss=MultipleNegativesRankingLoss(model),
            evaluator=ValidationScores({"qa": pairs}, dims=[16]),
        )
        show_progress(trainer, pairs_per_step=4, metric="mean_ndcg@10")
        return trainer

    return make


def test_a_terminal_has_one_bar_that_begins_at_the_resumed_step(
    make: Callable[[int], PairTrainer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    make(4).train()
    bars = [bar for bar in re.split(r"[\r\n]", screen.getvalue()) if "|" in bar and "/4" in bar]
    assert "0/4" in bars[0]
    last = bars[-1]
    assert "4/4" in last
    assert re.search(r"loss \d\.\d{3}, [\d.,]+ pairs/s, 00:00 left, mean_ndcg@10 \d+\.\d", last), last
    out = capsys.readouterr().out
    assert "{" not in out, "no raw dictionaries"
    assert re.findall(
        r"validation at step (\d), nDCG@10: mean [\d.]+, qa [\d.]+, mean at 16 [\d.]+, qa at 16", out
    ) == ["2", "4"]
    screen.truncate(0)
    trainer = make(6)
    trainer.train(resume_from_checkpoint=str(Path(str(trainer.args.output_dir)) / "checkpoint-4"))
    bars = [bar for bar in re.split(r"[\r\n]", screen.getvalue()) if "|" in bar and "/6" in bar]
    assert "4/6" in bars[0]
    assert "loss" in bars[0], "what the checkpoint knew"


def test_a_file_gets_plain_lines(
    make: Callable[[int], PairTrainer], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    make(5).train()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "step 2/5", "validation at step 2", "step 4/5", "validation at step 4", "validation at step 5",
    ]  # fmt: skip
    assert re.fullmatch(
        r"step 4/5, loss [\d.]+, [\d.,]+ pairs/s, 00:0\d left, mean_ndcg@10 [\d.]+", lines[2]
    ), lines[2]


def test_other_ranks_are_silent(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    play(Progress(64, "mean_ndcg@10"), TrainerState(max_steps=9, is_world_process_zero=False))
    assert capsys.readouterr().out == sys.stderr.getvalue() == ""  # type: ignore[attr-defined]


def play(shown: Progress, state: TrainerState, tick: Callable[[float], None] = lambda seconds: None) -> None:
    """Four steps of two seconds, a validation of 100 after the second and a save of 50 after the third."""
    told: Any = (None, state, TrainerControl())
    shown.on_train_begin(*told)
    tick(30)  # finding its place in the data
    for step in range(1, 5):
        shown.on_step_begin(*told)
        tick(2)
        state.global_step += 1
        shown.on_step_end(*told)
        if step == 2:
            tick(100)
            shown.on_evaluate(*told, metrics={"eval_mean_ndcg@10": 0.5})
        if step == 3:
            tick(50)
            shown.on_save(*told)
    state.log_history.append({"loss": 0.25, "step": state.global_step})
    shown.on_log(*told, logs={"loss": 0.25})
    shown.on_train_end(*told)


def test_speed_leaves_out_what_is_no_step_and_time_left_counts_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [1000.0]
    monkeypatch.setattr(callbacks.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(sys, "stderr", io.StringIO())

    def tick(seconds: float) -> None:
        now[0] += seconds

    play(Progress(64), TrainerState(max_steps=110, global_step=6, best_metric=0.4), tick)
    line = capsys.readouterr().out.splitlines()[-1]
    # 158 seconds for four steps, a hundred are left: 3,950 seconds.
    assert line == "step 10/110, loss 0.250, 32.0 pairs/s, 1:05:50 left"


def test_a_new_best_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    shown = Progress(64, "mean_64_ndcg@10")
    told: Any = (None, TrainerState(global_step=7, best_metric=0.6), TrainerControl())
    scores = {"eval_mean_ndcg@10": 0.5, "eval_mean_64_ndcg@10": 0.7}
    shown.on_evaluate(*told, metrics=scores)
    shown.on_evaluate(*told, metrics=scores | {"eval_mean_64_ndcg@10": 0.55})
    assert capsys.readouterr().out.splitlines() == [
        "validation at step 7, nDCG@10: mean at 64 70.0 (new best), mean 50.0",
        "validation at step 7, nDCG@10: mean at 64 55.0, mean 50.0",
    ]
