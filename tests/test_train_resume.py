"""Training that is stopped: by kills at random moments, by Ctrl-C, by a signal to one of two ranks."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import codequarry
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.training.checkpoints import newest_complete, publish, writing_folder

sys.path.insert(0, str(Path(__file__).parent))  # the forked processes import their helper by name
from random_kills import Outcome, batches, kill_at_random, losses, same_weights

ROOT = Path(__file__).parents[1]
RECIPE = str(ROOT / "recipes/nano.toml")
STEPS = 12


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Of a small run on two sources; lines are logged at other steps than checkpoints are written."""
    data = tmp_path_factory.mktemp("pairs")
    for source, task in (("a", "nl2code"), ("b", "code2nl")):
        pairs = [
            Pair(task, f"how to {source} {n}", f"def {source}_{n}(x): return {n}", source, "python")
            for n in range(32)
        ]
        write_pairs(data / f"{source}.jsonl.gz", pairs)
    return [
        f"data={data}", "backbone.shape.hidden_size=64", "backbone.shape.layers=2", "backbone.shape.heads=4",
        "backbone.shape.intermediate_size=128", "backbone.shape.vocabulary=600", "matryoshka_dims=[64, 16]",
        "max_length=96", "batch_size=8", "mini_batch_tokens=256", "grad_cache=on", "precision=fp32",
        f"max_steps={STEPS}", "save_steps=2", "logging_steps=3", "validation=none",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def outcome(settings: list[str], work: Path) -> Outcome:
    return kill_at_random(RECIPE, settings, work, kills=4, seed=time.time_ns())


def start(out: Path, settings: list[str], ranks: int = 1) -> "subprocess.Popen[str]":
    python = [sys.executable]
    if ranks > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    flags = [word for setting in settings for word in ("--set", setting)]
    return subprocess.Popen(
        [*python, str(ROOT / "train.py"), RECIPE, "--out", str(out), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def wait_for_a_checkpoint(out: Path, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 200
    while newest_complete(out / "checkpoints", check=False) is None:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.005)


def finished(out: Path, *, weight: float = 1.0, loss: float = 0.5, drawn: int = 3) -> Path:
    """A folder as a finished run leaves it."""
    written = writing_folder(out / "checkpoints") / "checkpoint-4"
    written.mkdir(parents=True)
    lines = [{"step": 4, "loss": loss}, {"step": 4, "eval_runtime": len(out.name)}]
    (written / "trainer_state.json").write_text(json.dumps({"log_history": lines}))
    publish(written, out / "checkpoints/checkpoint-4")
    save_file({"weight": np.array([weight], np.float32)}, out / "model.safetensors")
    (out / "training.json").write_text(json.dumps({"data": [{"batches_drawn": drawn}]}))
    return out


def test_the_comparison_sees_the_smallest_difference(tmp_path: Path) -> None:
    calm, other = finished(tmp_path / "calm"), finished(tmp_path / "the other")
    assert losses(calm) == losses(other), "how long an evaluation took is no difference"
    assert same_weights(calm, other)
    assert batches(calm) == batches(other)
    last_bit = finished(tmp_path / "x", weight=1 + 2**-23, loss=0.5 + 2**-53, drawn=4)
    assert losses(calm) != losses(last_bit)
    assert not same_weights(calm, last_bit)
    assert batches(calm) != batches(last_bit)


def test_killed_at_four_random_moments_a_run_ends_with_the_same_losses_and_weights(outcome: Outcome) -> None:
    assert len(outcome.kills) == 4
    assert outcome.steps == STEPS
    assert outcome.same_losses
    assert outcome.same_weights
    assert outcome.same_batches


def test_killed_while_its_model_was_put_in_place_a_run_is_finished_by_the_same_command(
    outcome: Outcome, settings: list[str], work: Path
) -> None:
    out = work / "calm"
    expected = load_file(out / "model.safetensors")
    (out / "config.json").unlink()  # what a kill leaves: it is put there last
    with pytest.raises(ValueError, match="holds no finished model"):
        codequarry.load(str(out))
    process = start(out, settings)
    told, _ = process.communicate(timeout=200)
    assert process.returncode == 0, told
    assert f"continuing from {out / f'checkpoints/checkpoint-{STEPS}'}" in told
    found = load_file(out / "model.safetensors")
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize("ranks", [1, 2])
def test_ctrl_c_or_a_signal_to_one_rank_stops_all_after_the_same_step_with_a_checkpoint(
    ranks: int, settings: list[str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    process = start(out, [*settings, "max_steps=100000"], ranks)
    wait_for_a_checkpoint(out, process)
    asked = process.pid if ranks == 1 else _rank(1, process.pid)
    os.kill(asked, signal.SIGINT if ranks == 1 else signal.SIGTERM)
    told, _ = process.communicate(timeout=200)
    if ranks == 1:  # torchrun has a traceback of its own for any end but success
        assert "Traceback" not in told
    assert process.returncode == (130 if ranks == 1 else 1), told
    steps = re.findall(r"stopped after step (\d+) of 100000; the same command", told)
    assert len(steps) == 1, told
    kept = newest_complete(out / "checkpoints")
    assert kept == out / f"checkpoints/checkpoint-{steps[0]}"
    states = {"rng_state.pth"} if ranks == 1 else {"rng_state_0.pth", "rng_state_1.pth"}
    assert {file.name for file in kept.glob("rng_state*")} == states
    assert len(list(kept.glob("counts_*.json"))) == ranks


def _rank(rank: int, launcher: int) -> int:
    """The process of one rank below torchrun's."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.findall(r"PPid:\s+(\d+)", (folder / "status").read_text())[0])
            variables = (folder / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if parent == launcher and f"LOCAL_RANK={rank}".encode() in variables:
            return int(folder.name)
    raise AssertionError(f"rank {rank} is not there")
