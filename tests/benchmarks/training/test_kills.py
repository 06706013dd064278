"""The comparing and the report; the killing itself is done in tests/test_train_resume.py."""

import argparse
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from codequarry.benchmarks.training import kills
from codequarry.benchmarks.training.kills import Kill, Outcome, add_arguments, run
from codequarry.modules.checkpoints import publish, writing_folder


def finished(out: Path, *, weight: float = 1.0, loss: float = 0.5, batches: int = 3) -> Path:
    """A folder as a finished run leaves it."""
    written = writing_folder(out / "checkpoints") / "checkpoint-4"
    written.mkdir(parents=True)
    lines = [{"step": 4, "loss": loss}, {"step": 4, "eval_runtime": len(out.name)}]
    (written / "trainer_state.json").write_text(json.dumps({"log_history": lines}))
    publish(written, out / "checkpoints/checkpoint-4")
    save_file({"weight": torch.tensor([weight])}, out / "model.safetensors")
    (out / "training.json").write_text(json.dumps({"data": [{"batches_drawn": batches}]}))
    return out


def test_equal_runs_are_called_equal_and_the_smallest_difference_is_seen(tmp_path: Path) -> None:
    calm, other = finished(tmp_path / "calm"), finished(tmp_path / "the other")
    assert kills._losses(calm) == kills._losses(other), "how long an evaluation took is no difference"
    assert kills._same_weights(calm, other)
    assert kills._batches(calm) == kills._batches(other)
    last_bit = finished(tmp_path / "x", weight=1 + 2**-23, loss=0.5 + 2**-53, batches=4)
    assert kills._losses(calm) != kills._losses(last_bit)
    assert not kills._same_weights(calm, last_bit)
    assert kills._batches(calm) != kills._batches(last_bit)


@pytest.mark.parametrize("same", [True, False])
def test_every_kill_is_in_the_results_file_and_a_difference_is_an_exit_code(
    same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = Outcome((Kill("steps", 4, 1.5),), 1, 8, True, same, True)
    monkeypatch.setattr(kills, "kill_at_random", lambda *_, **__: outcome)
    words = ["nano", "--kills", "1", "--set", "data=/home/me/pairs", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["kills.py", *words])
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    if same:
        run(parser.parse_args(words))
    else:
        with pytest.raises(SystemExit):
            run(parser.parse_args(words))
    written = json.loads((tmp_path / "training-kills.json").read_text())
    assert written["kills"] == [{"phase": "steps", "after_step": 4, "seconds": 1.5}]
    assert written["same_weights"] is same
    assert written["hardware"]["processor"]
    program = "python -m codequarry.benchmarks.training.kills nano --kills 1 --set data=pairs --out"
    assert written["command"].startswith(program)
    assert ("weights equal" if same else "weights DIFFERENT") in capsys.readouterr().out
