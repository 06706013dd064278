"""One step through the real `train`, its memory told, and its results one row a recipe and way."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codequarry.benchmarks.training import one_step as program
from codequarry.benchmarks.training.one_step import OneStep, one_step, step_table, weights_of
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.recipes.read import read_recipe, recipe_path

GB = 10**9
STEP = OneStep(
    "0.5b", "all, float32", 8, 1300, 1, [], False, 130.0, 69.0, 120.0, 3.0, 3 * GB, 8 * GB, 9 * GB, 10 * GB
)


def test_the_step_of_an_adapter_on_bfloat16_weights_is_made_and_its_model_saved(
    some_pairs: list[Pair], small: tuple[str, ...], tmp_path: Path
) -> None:
    found = one_step("1.5b", "LoRA, bfloat16", some_pairs, tmp_path, threads=1, settings=small)
    assert (found.recipe, found.trained, found.batch_size) == ("1.5b", "LoRA, bfloat16", 8)
    assert found.tokens > 100
    assert 0 < found.step_seconds < found.whole_seconds
    assert 10**8 < found.memory_before <= found.memory_step <= found.memory_end
    record = json.loads((tmp_path / "one-step/run/training.json").read_text())
    assert (record["steps"], record["precision"], record["packed"]) == (1, "bf16", True)
    assert record["recipe"]["weights"] == "bfloat16"
    assert record["recipe"]["lora"]["rank"] == 16
    assert (tmp_path / "one-step/run/adapter").is_dir()
    assert found.disk >= 4 * found.parameters


@pytest.mark.parametrize("name", ["nano", "0.5b", "1.5b"])
def test_the_weights_of_a_shape_are_counted_within_a_percent(name: str) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2Model

    shape = read_recipe(recipe_path(name)).backbone.shape
    assert shape is not None
    with torch.device("meta"):
        model = Qwen2Model(
            Qwen2Config(
                vocab_size=shape.vocabulary,
                hidden_size=shape.hidden_size,
                intermediate_size=shape.intermediate_size,
                num_hidden_layers=shape.layers,
                num_attention_heads=shape.heads,
                num_key_value_heads=shape.kv_heads,
            )
        )
    assert weights_of(shape) == pytest.approx(sum(weight.numel() for weight in model.parameters()), rel=0.01)


def test_a_disk_with_too_little_room_is_refused_before_anything_is_written(
    some_pairs: list[Pair], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: argparse.Namespace(free=5 * GB))
    with pytest.raises(ValueError, match=r"take about 10 GB and .* has 5 GB free"):
        one_step("0.5b", "all, float32", some_pairs, tmp_path, threads=1)
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_without_a_shape_is_refused(some_pairs: list[Pair], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"mini has no \[backbone\.shape\]"):
        one_step("mini", "all, float32", some_pairs, tmp_path, threads=1)


def test_each_recipe_and_way_has_one_row(
    some_pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fake(recipe: str, trained: Any, *_: Any, **__: Any) -> OneStep:
        return replace(STEP, recipe=recipe, trained=trained)

    monkeypatch.setattr(program, "one_step", fake)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # so that it is set back
    write_pairs(tmp_path / "pairs.jsonl", some_pairs)
    out = tmp_path / "results/found.json"
    parser = argparse.ArgumentParser()
    program.add_arguments(parser)
    for words in (["1.5b", "--lora"], ["0.5b"], ["1.5b"], ["0.5b"]):
        program.run(parser.parse_args([*words, "--data", str(tmp_path), "--out", str(out)]))
    record = json.loads(out.read_text())
    assert [(row["recipe"], row["trained"]) for row in record["rows"]] == [
        ("0.5b", "all, float32"),
        ("1.5b", "all, bfloat16"),
        ("1.5b", "LoRA, bfloat16"),
    ]
    assert {"hardware", "versions", "command", "load_before"} <= record["rows"][0].keys()
    assert "benchmark" not in record  # else the report would look for scores in it
    table = step_table(record)
    assert "| `0.5b` | all, float32 | 8 | 1,300 | 69 | 3.0 GB | 8.0 GB | 9.0 GB |" in table.splitlines()
    assert table in capsys.readouterr().out
    with pytest.raises(ValueError, match="held in bfloat16"):
        program.run(
            parser.parse_args(["0.5b", "--lora", "--weights", "float32", "--data", ".", "--out", "x"])
        )
