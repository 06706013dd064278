"""A trainer in its own process: timed steps, the operations they need, and why it failed."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from codequarry.benchmarks.timed_trainer import MatmulPeak, TimedTrainer, _lengths, step_flops, take_turns
from codequarry.benchmarks.training_speed import draw, write_backbone, write_cut_recipe
from codequarry.data.pair import Pair
from codequarry.recipes.read import read_recipe, recipe_path


def test_one_that_fails_says_why_and_the_next_one_trains(
    some_pairs: list[Pair], small: tuple[str, ...], tmp_path: Path
) -> None:
    recipe = read_recipe(recipe_path("nano"), small)
    sample, sources = draw(some_pairs, recipe, 2)
    backbone = write_backbone(tmp_path / "backbone", recipe, some_pairs, None)
    file = write_cut_recipe(tmp_path, recipe, sample, sources, backbone)
    failing = TimedTrainer("bad one", "ours", file, ("temprature=1",))
    whole = TimedTrainer("ours", "ours", file, ("precision=fp32",))
    turns = list(take_turns([failing, whole], tmp_path, 2, threads=1, together=False))
    assert failing.failed is not None
    assert "Did you mean 'temperature'" in failing.failed
    assert failing.steps == []
    assert len(turns) == 4

    assert whole.failed is None
    assert len(whole.steps) == 2
    assert all(step.cpu > 0 and step.wall > 0 and step.tokens > 100 for step in whole.steps)
    memory = [step.peak_memory for step in whole.steps]
    assert memory == sorted(memory)
    assert memory[0] > 10**8
    assert whole.setup is not None
    parameters = _without_table(recipe_layers=2, size=64, kv=16, wide=128)
    assert whole.setup.parameters == parameters
    assert all(step.flops > 6 * parameters * step.tokens for step in whole.steps)


def test_tokens_of_packed_and_padded_texts_are_counted_alike() -> None:
    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    padded = {"query_input_ids": mask, "query_attention_mask": mask}
    bounds = torch.tensor([0, 2, 6, 7])
    packed = {"query_cu_seq_lens_q": bounds, "query_cu_seq_lens_k": bounds, "query_max_length_q": 4}
    assert [column.tolist() for column in _lengths(padded)] == [[2, 4, 1]]
    assert [column.tolist() for column in _lengths(packed)] == [[2, 4, 1]]


def test_a_process_that_ends_early_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Called with four arguments, this ends before it has printed anything.
    monkeypatch.setattr("codequarry.benchmarks.timed_trainer._train", os._exit)
    lost = TimedTrainer("lost", "ours", tmp_path)
    list(take_turns([lost], tmp_path / "work", 1, threads=1))
    assert lost.failed == "the process ended with 1; it said nothing"
    assert (lost.setup, lost.steps) == (None, [])


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


def test_the_matmul_peak_only_rises_and_is_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codequarry.benchmarks.timed_trainer._SIZES", {"cpu": (64, 256)})
    peak = MatmulPeak("cpu", "fp32", 1)
    peak.measure()
    first = peak.best
    peak.measure()
    assert peak.best >= first
    assert 1e8 < first < 1e13


def test_one_thread_is_timed_by_the_processor() -> None:
    clocks = [
        MatmulPeak(device, "fp32", threads).clock for device, threads in (("cpu", 1), ("cpu", 2), ("cuda", 1))
    ]
    assert clocks == ["cpu", "wall", "wall"]
