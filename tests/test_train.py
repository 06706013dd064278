"""Training as users start it: in a process of its own, on one rank and on two."""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

import codequarry
from codequarry.common.environment import has_fast_bf16
from codequarry.common.errors import UserError
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs
from codequarry.modules.tasks import CODE
from codequarry.recipes.read import read_recipe, recipe_from_record, recipe_path
from codequarry.train import train

ROOT = Path(__file__).parents[1]
SMALL = [
    "backbone.shape.hidden_size=64", "backbone.shape.layers=2", "backbone.shape.heads=4",
    "backbone.shape.intermediate_size=128", "backbone.shape.vocabulary=600", "matryoshka_dims=[64, 16]",
    "max_length=96", "batch_size=8", "mini_batch_tokens=128", "save_steps=2", "logging_steps=1",
    "precision=fp32", "validation=none",
]  # fmt: skip


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of two tasks that teach an easy thing, and one too small to fill a batch."""
    folder = tmp_path_factory.mktemp("pairs")
    words = [
        f"{a}{b}"
        for a in ("sort", "parse", "send", "load", "draw", "open")
        for b in ("list", "date", "mail", "map")
    ]
    for source, task, count in (("a", "nl2code", 24), ("b", "code2nl", 24), ("tiny", "qa", 3)):
        write_pairs(
            folder / f"{source}.jsonl.gz",
            [
                Pair(
                    task, f"how to {word} {n}", f"def {word}_{n}(x):\n    return {word}(x)", source, "python"
                )
                for n, word in enumerate(words[:count])
            ],
        )
    return folder


def command(out: Path, pairs: Path, *settings: str, recipe: str = "nano", ranks: int = 1) -> list[str]:
    start = [sys.executable]
    if ranks > 1:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    chosen = [f"data={pairs}", *settings]
    flags = [part for setting in chosen for part in ("--set", setting)]
    return [
        *start,
        str(ROOT / "train.py"),
        str(ROOT / "recipes" / f"{recipe}.toml"),
        "--out",
        str(out),
        *flags,
    ]


def run(words: list[str]) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)


def weights(folder: Path) -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    return load_file(folder / "model.safetensors")


def losses(folder: Path) -> list[float]:
    """Of each step, as the newest checkpoint has them."""
    newest = max(folder.glob("checkpoints/checkpoint-*"), key=lambda found: int(found.name.split("-")[1]))
    history = json.loads((newest / "trainer_state.json").read_text())["log_history"]
    return [line["loss"] for line in history if "loss" in line]


@pytest.fixture(scope="module")
def uninterrupted(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    result = run(command(out, pairs, *SMALL, "max_steps=8"))
    assert result.returncode == 0, result.stderr
    assert "left out: tiny:qa: 3 pairs, fewer than one batch of 8" in result.stdout
    return out


def test_a_finished_run_is_a_model_with_its_recipe_beside_it(uninterrupted: Path) -> None:
    model = codequarry.load(str(uninterrupted), dims=16)
    assert model.encode_query(["how to sortlist"], task="nl2code").shape == (1, 16)
    record = json.loads((uninterrupted / "training.json").read_text())
    assert record["steps"] == 8
    assert [(row["source"], row["task"], row["pairs"]) for row in record["data"]] == [
        ("a", "nl2code", 24),
        ("b", "code2nl", 24),
    ]
    assert sum(row["batches_drawn"] for row in record["data"]) == 8
    assert all(row["pairs_drawn"] == 8 * row["batches_drawn"] > 0 for row in record["data"])
    assert record["left_out"] == {"tiny:qa": "3 pairs, fewer than one batch of 8"}
    assert record["hardware"]["processor"]
    assert json.loads((uninterrupted / "recipe.json").read_text())["recipe"]["max_steps"] == 8


def test_model_and_checkpoints_name_stock_classes_and_carry_the_prompts(uninterrupted: Path) -> None:
    folders = [uninterrupted, *(uninterrupted / "checkpoints").glob("checkpoint-*")]
    assert len(folders) == 3
    for folder in folders:
        types = [module["type"] for module in json.loads((folder / "modules.json").read_text())]
        assert all(name.startswith("sentence_transformers.") for name in types)
        assert SentenceTransformer(str(folder)).prompts == CODE.prompts()


def test_training_teaches(uninterrupted: Path, pairs: Path) -> None:
    """Eight more steps from the same start, for the loss at both ends."""
    states = sorted(
        (uninterrupted / "checkpoints").glob("*/trainer_state.json"), key=lambda f: f.stat().st_mtime
    )
    losses = [entry["loss"] for entry in json.loads(states[-1].read_text())["log_history"] if "loss" in entry]
    assert losses[-1] < losses[0]


def test_hard_negatives_are_mined_once_and_kept_beside_the_run(pairs: Path, tmp_path: Path) -> None:
    # 24 documents hold a few batches of 4 pairs with 3 documents each and none twice, but none of 8 pairs
    chosen = ["hard_negatives.model=mini", "hard_negatives.per_pair=2", "max_steps=2", "batch_size=4"]
    words = command(tmp_path / "run", pairs, *SMALL, *chosen)
    result = run(words)
    assert result.returncode == 0, result.stderr
    kept = tmp_path / "run/negatives/negatives.jsonl.gz"
    mined = read_pairs(kept).pairs
    assert [pair.query for pair in mined] == [pair.query for pair in read_pairs(pairs).pairs]
    assert sum(len(pair.negatives) == 2 for pair in mined) > 24
    written, expected = kept.stat().st_mtime_ns, weights(tmp_path / "run")
    (tmp_path / "run/config.json").unlink()
    result = run(words)
    assert result.returncode == 0, result.stderr
    assert kept.stat().st_mtime_ns == written, "it was mined again"
    found = weights(tmp_path / "run")
    assert all(np.array_equal(expected[name], found[name]) for name in expected)


def test_the_recipe_decides_what_is_drawn(pairs: Path, tmp_path: Path) -> None:
    """A cap, a weight and a licence: `so_codenn` is a known share-alike source."""
    folder = tmp_path / "pairs"
    shutil.copytree(pairs, folder / "own")
    write_pairs(
        folder / "so/pairs.jsonl",
        [Pair("nl2code", f"question {n}", f"answer({n})", "so_codenn", "python") for n in range(16)],
    )
    chosen = ["subfolders=true", "licences=permissive", "max_pairs_per_source=20", "source_weights.b=3"]
    result = run(command(tmp_path / "run", folder, *SMALL, *chosen, "max_steps=2"))
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run/training.json").read_text())
    assert [(row["source"], row["pairs"], row["share"]) for row in record["data"]] == [
        ("a", 20, 0.25),
        ("b", 20, 0.75),
    ]
    assert record["left_out"] == {
        "so_codenn": "16 pairs under CC-BY-SA-3.0, with licences = 'permissive'",
        "a:nl2code": "4 pairs over the cap of 20",
        "b:code2nl": "4 pairs over the cap of 20",
        "tiny:qa": "3 pairs, fewer than one batch of 8",
    }


STABLE = ("scheduler=warmup_stable_decay", "decay_steps=2", "learning_rate=1e-3")


@pytest.fixture(scope="module")
def stable(pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of eight steps whose last two bring the rate down; its checkpoint of step six is kept."""
    out = tmp_path_factory.mktemp("runs") / "stable"
    result = run(command(out, pairs, *SMALL, *STABLE, "max_steps=8"))
    assert result.returncode == 0, result.stderr
    return out


def test_a_run_that_is_ended_at_a_checkpoint_is_the_run_that_had_planned_it(
    stable: Path, pairs: Path, tmp_path: Path
) -> None:
    words = command(tmp_path / "ended", pairs, *SMALL, *STABLE, "max_steps=8")
    result = run([*words, "--from", str(stable / "checkpoints/checkpoint-6"), "--decay", "2"])
    assert result.returncode == 0, result.stderr
    assert "checkpoint-6" in result.stdout
    expected, found = weights(stable), weights(tmp_path / "ended")
    assert all(np.array_equal(expected[name], found[name]) for name in expected)
    state = json.loads((tmp_path / "ended/checkpoints/checkpoint-8/trainer_state.json").read_text())
    rates = [entry["learning_rate"] for entry in state["log_history"] if "learning_rate" in entry]
    assert rates[5] == rates[1] == 1e-3
    assert rates[7] < rates[5]


def test_the_last_steps_may_be_on_longer_texts(stable: Path, pairs: Path, tmp_path: Path) -> None:
    words = command(tmp_path / "ended", pairs, *SMALL, *STABLE, "max_steps=8", "max_length=100")
    result = run([*words, "--from", str(stable / "checkpoints/checkpoint-6"), "--decay", "1"])
    assert result.returncode == 0, result.stderr
    assert codequarry.load(str(tmp_path / "ended")).max_seq_length == 100
    assert codequarry.load(str(stable)).max_seq_length != 100


def test_where_a_run_is_to_be_ended_and_in_how_many_steps_go_together(
    stable: Path, pairs: Path, tmp_path: Path
) -> None:
    words = command(tmp_path / "run", pairs, *SMALL, *STABLE, "max_steps=8")
    assert "--from and --decay go together" in run([*words, "--decay", "2"]).stderr
    result = run([*words, "--from", str(stable), "--decay", "2"])
    assert "lies in the warm-up or the decay of its run" in result.stderr
    assert not (tmp_path / "run").exists()


def test_another_recipe_on_a_used_folder_is_refused(uninterrupted: Path, pairs: Path) -> None:
    result = run(command(uninterrupted, pairs, *SMALL, "max_steps=9"))
    assert "belongs to recipe 'nano'; this is recipe 'nano': max_steps 8 there and 9 here" in result.stderr
    assert (uninterrupted / "config.json").exists()


@pytest.mark.parametrize("recipe", ["nano", pytest.param("mini", marks=pytest.mark.exhaustive)])
def test_two_ranks_train_to_a_model_that_loads_and_have_the_losses_of_one(
    recipe: str, uninterrupted: Path, pairs: Path, tmp_path: Path
) -> None:
    steps = 8 if recipe == "nano" else 2
    settings = (
        SMALL
        if recipe == "nano"
        else [
            "batch_size=8",
            "precision=fp32",
            "max_length=64",
            "validation=none",
            "objective.matching=none",
            "source_weights={}",
        ]
    )
    result = run(command(tmp_path / "run", pairs, *settings, f"max_steps={steps}", recipe=recipe, ranks=2))
    assert result.returncode == 0, result.stderr
    assert json.loads((tmp_path / "run/training.json").read_text())["ranks"] == 2
    model = codequarry.load(str(tmp_path / "run"))
    assert np.isfinite(model.encode_query(["how to sortlist"], task="qa")).all()
    if recipe == "nano":
        one, two = losses(uninterrupted), losses(tmp_path / "run")
        assert len(one) == steps
        assert two == pytest.approx(one, rel=1e-4)


def test_an_adapter_is_trained_on_bfloat16_weights_and_saved_merged_and_alone(
    pairs: Path, tmp_path: Path
) -> None:
    settings = [setting for setting in SMALL if not setting.startswith("precision=")]
    settings += ["backbone.weights=random", "weights=bfloat16", "lora.rank=16", "max_steps=1"]
    result = run(command(tmp_path / "run", pairs, *settings, recipe="1.5b"))
    assert result.returncode == 0, result.stderr
    record = json.loads((tmp_path / "run/training.json").read_text())
    assert (record["steps"], record["precision"], record["packed"]) == (1, "bf16", True)
    assert (record["recipe"]["weights"], record["recipe"]["lora"]["rank"]) == ("bfloat16", 16)
    assert (tmp_path / "run/adapter/adapter_model.safetensors").is_file()
    merged = codequarry.load(str(tmp_path / "run"))
    assert np.isfinite(merged.encode_query(["how to sortlist"], task="qa")).all()


def test_a_malformed_pair_stops_the_run_before_it_starts(pairs: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"task": "nl2code", "query": "x"}\n')
    result = run(command(tmp_path / "run", bad, *SMALL))
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert "bad.jsonl" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_batch_that_no_source_fills_is_refused_with_a_size_that_works(pairs: Path, tmp_path: Path) -> None:
    result = run(command(tmp_path / "run", pairs, *SMALL, "batch_size=64"))
    assert "no source in" in result.stderr
    assert "--set batch_size=12" in result.stderr


def test_two_ranks_print_their_warnings_once(pairs: Path, tmp_path: Path) -> None:
    (tmp_path / "no folder").touch()
    words = command(tmp_path / "run", pairs, *SMALL, "max_steps=1", ranks=2)
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CODEQUARRY_CACHE": str(tmp_path / "no folder")}
    result = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=300)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("the token cache") == 1
    warned = [line for line in result.stderr.splitlines() if "Warning: " in line]
    assert len(warned) == len({line.partition("Warning: ")[2] for line in warned}), result.stderr
    assert result.stdout.count("left out: tiny:qa") == 1


def test_a_recipe_in_bf16_is_said_to_compute_in_fp32_where_that_is_faster(
    pairs: Path, tmp_path: Path
) -> None:
    result = run(command(tmp_path / "run", pairs, *SMALL, "precision=bf16", "max_steps=1"))
    assert result.returncode == 0, result.stderr
    slow = not has_fast_bf16("cpu")
    assert ("the run computes in fp32" in result.stdout) == slow
    record = json.loads((tmp_path / "run/training.json").read_text())
    assert record["precision"] == ("fp32" if slow else "bf16")


@pytest.mark.parametrize(
    ("device", "sentence"), [("cuda:9", "is not what torch has here"), ("warp", "is none that torch knows")]
)
def test_a_device_that_is_not_there_is_refused(
    pairs: Path, tmp_path: Path, device: str, sentence: str
) -> None:
    settings = [f"data={pairs}", *SMALL]
    with pytest.raises(UserError, match=f"^device '{device}' {sentence}"):
        train(recipe_path("nano"), tmp_path / "run", settings=settings, device=device)


def test_columns_and_task_become_fields_of_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    from codequarry import train as program

    parser = argparse.ArgumentParser()
    program.add_arguments(parser)
    words = ["own", "--out", "x", "--columns", "query=the anchor,document=positive", "--task", "qa"]
    given: dict[str, list[str]] = {}
    monkeypatch.setattr(program, "train", lambda *_, settings, **__: given.update(settings=settings))
    program.run(parser.parse_args(words))
    recipe = read_recipe(recipe_path("own"), given["settings"])
    assert recipe.columns == {"query": "the anchor", "document": "positive"}
    assert recipe.task == "qa"
    assert recipe_from_record(json.loads(json.dumps(dataclasses.asdict(recipe)))) == recipe
