"""The two trainers compute the same, step by step in processes of their own; doubtful figures are named."""

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from codequarry.benchmarks import training_speed
from codequarry.benchmarks.training_speed import (
    CACHED,
    OURS,
    STOCK,
    Step,
    TimedTrainer,
    _lengths,
    cut,
    matmul_speed,
    measure,
    speed_table,
    step_flops,
    take_turns,
)
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.recipes.read import read_recipe, recipe_path


@pytest.fixture(scope="module", autouse=True)
def small_matrices() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_speed, "_SIZES", (64, 256))
        yield


def test_ours_and_the_stock_trainer_see_the_same_batches_and_have_the_same_losses(
    some_pairs: list[Pair], small: tuple[str, ...], tmp_path: Path
) -> None:
    write_pairs(tmp_path / "data/inside/pairs.jsonl", some_pairs)
    plan = {"steps": 2, "warm_up": 1, "threads": 1, "settings": list(small)}
    found = measure("nano", "fp32", tmp_path / "data", plan, tmp_path)
    rows = {row["trainer"]: row for row in found["rows"]}
    assert list(rows) == [STOCK, OURS, CACHED]
    assert [row["grad_cache"] for row in rows.values()] == [True, False, True]
    assert [row["attention"] for row in rows.values()] == ["sdpa", "packed", "packed"]
    assert len({row["parameters"] for row in rows.values()}) == 1
    for name in (OURS, CACHED):
        assert len(rows[name]["losses"]) == 3
        assert rows[name]["losses"] == pytest.approx(rows[STOCK]["losses"], rel=1e-5)
        assert rows[name]["tokens"] == rows[STOCK]["tokens"]
        assert rows[name]["losses_agree"]
        spread = rows[name]["times_stock"]
        assert 0 < spread["low"] <= spread["median"] <= spread["high"]
    assert len(set(rows[STOCK]["losses"])) == 3  # they do train
    assert sum(found["sources"].values()) == 2 + 1 + 1
    assert found["clock"] == "cpu"


def test_one_that_fails_says_why_and_the_next_one_trains(
    some_pairs: list[Pair], small: tuple[str, ...], tmp_path: Path
) -> None:
    file = recipe_path("nano")
    settings, _ = cut(read_recipe(file, small), some_pairs, 3, tmp_path)
    settings = [*small, *settings]
    failing = TimedTrainer("bad one", file, [*settings, "temprature=1"])
    whole = TimedTrainer(OURS, file, [*settings, "precision=fp32"])
    turns = list(take_turns([failing, whole], tmp_path, 2, threads=1))
    assert failing.failed is not None
    assert "Did you mean 'temperature'" in failing.failed
    assert failing.steps == []
    assert len(turns) == 2

    assert whole.failed is None
    assert len(whole.steps) == 2
    assert all(step.cpu > 0 and step.wall > 0 and step.tokens > 100 for step in whole.steps)
    memory = [step.peak_memory for step in whole.steps]
    assert memory == sorted(memory)
    assert memory[0] > 10**8
    parameters = _without_table(recipe_layers=2, size=64, kv=16, wide=128)
    assert whole.setup["parameters"] == parameters
    assert all(step.flops > 6 * parameters * step.tokens for step in whole.steps)


def test_a_process_that_ends_early_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Called with four arguments, this ends with an error.
    monkeypatch.setattr(training_speed, "_train", os._exit)
    lost = TimedTrainer("lost", tmp_path)
    list(take_turns([lost], tmp_path / "work", 1, threads=1))
    assert lost.failed == "its process ended with exit code 1"
    assert (lost.setup, lost.steps) == ({}, [])


def test_other_batches_are_found_out() -> None:
    one, other = trained(STOCK, [1.0, 1.0], tokens=10), trained(OURS, [1.0, 1.0], tokens=11)
    with pytest.raises(ValueError, match=r"step 1 .*: tokens sentence-transformers 10, ours 11"):
        row(other, one)


def row(one: TimedTrainer, stock: TimedTrainer, warm_up: int = 1) -> dict[str, Any]:
    part = {"format": "fp32", "clock": "cpu", "batch_size": 8}
    return training_speed._row(one, stock, warm_up, 1e9, part)


def test_how_much_faster_is_measured_step_by_step_without_the_warm_up() -> None:
    stock, ours = trained(STOCK, [99.0, 4.0, 6.0, 8.0]), trained(OURS, [1.0, 2.0, 2.0, 2.0], loss=1.0001)
    found = row(ours, stock)
    assert found["times_stock"] == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert found["losses_agree"]
    apart = row(trained(OURS, [1.0] * 4, loss=1.01), stock)
    assert (apart["losses_apart"], apart["losses_agree"]) == (1e-2, False)
    assert "times_stock" not in row(stock, stock)


def test_a_trainer_that_fails_is_a_row_and_the_other_keeps_its_figures() -> None:
    stock, ours = trained(STOCK, []), trained(OURS, [1.0, 2.0])
    stock.failed = "OutOfMemoryError: no room"
    failed = row(stock, stock)
    assert failed == {"trainer": STOCK, "failed": "OutOfMemoryError: no room"}
    whole = row(ours, stock)
    assert whole["pairs_per_second"] == 4.0
    assert "times_stock" not in whole
    lines = speed_table({"parts": {"nano, fp32": a_part("nano", "fp32") | {"rows": [failed]}}}).splitlines()
    assert "| failed: OutOfMemoryError: no room |  |  |  |  |" in lines[-1]


def test_results_of_other_recipes_are_kept_and_losses_apart_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[str] = []

    def fake(name: str, form: str, *_: Any) -> dict[str, Any]:
        asked.append(f"{name}, {form}")
        found = a_part(name, form)
        if form == "bf16":
            found["rows"][1] |= {"losses_apart": 0.2, "losses_agree": False}
        return found

    monkeypatch.setattr(training_speed, "measure", fake)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.setenv(name, "1")  # so that it is set back
    out = tmp_path / "results/found.json"
    parser = argparse.ArgumentParser()
    training_speed.add_arguments(parser)

    def run(*words: str) -> list[str]:
        asked.clear()
        training_speed.run(parser.parse_args(["--data", str(tmp_path), "--out", str(out), *words]))
        return list(asked)

    assert run("--models", "mini") == ["mini, fp32", "mini, bf16"]
    assert "mini, bf16: losses of ours are up to 2.0e-01 apart" in capsys.readouterr().err
    assert run("--models", "nano", "--steps", "3") == ["nano, fp32", "nano, bf16"]
    record = json.loads(out.read_text())
    assert list(record["parts"]) == ["mini, fp32", "mini, bf16", "nano, fp32", "nano, bf16"]
    assert {"hardware", "versions", "command"} <= record["parts"]["nano, fp32"].keys()
    assert record["parts"]["nano, fp32"]["plan"] == {"steps": 3, "warm_up": 6, "threads": 1, "settings": []}
    assert record["parts"]["mini, fp32"]["plan"]["steps"] == 10
    assert "benchmark" not in record  # else the report would look for scores in it


def test_the_table_shows_every_row() -> None:
    parts = [("nano", "fp32"), ("nano", "bf16"), ("mini", "fp32")]
    record = {"parts": {f"{name}, {form}": a_part(name, form) for name, form in parts}}
    lines = speed_table(record).splitlines()
    assert lines[0].split(" | ")[-1] == "times stock |"
    assert "| `nano` fp32, 128 tokens | ours | 2.00 | 32.0 | 7,600 | 40% | **3.0** (2.0 to 4.0) |" in lines
    assert len(lines) == 2 + 3 * 2


def trained(name: str, seconds: list[float], loss: float = 1.0, tokens: int = 10) -> TimedTrainer:
    steps = [Step(time, time, loss, tokens, 1.0, 0) for time in seconds]
    return TimedTrainer(name, Path(), setup={"parameters": 1}, steps=steps)


def a_part(recipe: str, form: str) -> dict[str, Any]:
    def spread(middle: float) -> dict[str, float]:
        return {"median": middle, "low": middle - 1, "high": middle + 1}

    row = {
        "cpu_seconds": spread(2.0), "wall_seconds": spread(2.0), "pairs_per_second": 32.0,
        "tokens": spread(7600), "of_matmul_peak": {"median": 0.4}, "peak_memory": 90 * 10**9,
    }  # fmt: skip
    return {
        "recipe": recipe, "format": form, "max_length": 128, "clock": "cpu",
        "rows": [row | {"trainer": STOCK}, row | {"trainer": OURS, "times_stock": spread(3.0)}],
    }  # fmt: skip


def test_tokens_of_packed_and_padded_texts_are_counted_alike() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    padded = {"query_input_ids": mask, "query_attention_mask": mask}
    bounds = torch.tensor([0, 2, 6, 7])
    packed = {"query_cu_seq_lens_q": bounds, "query_cu_seq_lens_k": bounds, "query_max_length_q": 4}
    assert [column.tolist() for column in _lengths(padded)] == [[2, 4, 1]]
    assert [column.tolist() for column in _lengths(packed)] == [[2, 4, 1]]


def _without_table(recipe_layers: int, size: int, kv: int, wide: int) -> int:
    attention = 2 * size * size + 2 * size * kv + size + 2 * kv  # queries, keys and values have a bias
    return recipe_layers * (attention + 3 * size * wide + 2 * size) + size


def _config(**settings: Any) -> Any:
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=50, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="eager", **settings,
    )  # fmt: skip


@pytest.mark.parametrize("tokens", [16, 200])
def test_the_operations_of_a_step_are_those_that_torch_counts(tokens: int) -> None:
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import Qwen2Model

    model = Qwen2Model(_config())
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(tokens)[None] % 50).last_hidden_state.sum().backward()

    table = model.embed_tokens.weight.numel()
    parameters = sum(weight.numel() for weight in model.parameters()) - table
    needed = step_flops(parameters, _config(is_causal=False), torch.tensor([tokens]))
    # The first layer's inputs come from the table through a norm, so nothing is left out; norms, biases and
    # rotations are what torch does not count.
    assert needed == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_causal_attention_needs_half() -> None:
    lengths = torch.tensor([6, 4])
    whole, causal = (step_flops(0, _config(is_causal=causal), lengths) for causal in (False, True))
    assert (whole, causal) == (12 * 3 * 64 * 52, 6 * 3 * 64 * 52)


def test_the_speed_of_products_is_a_speed() -> None:
    for form in training_speed.AGREE:
        assert 1e7 < matmul_speed(form, time.perf_counter) < 1e13
