import os
from pathlib import Path

import pytest

from codequarry.benchmarks.training.contender import Contender, _lengths
from codequarry.benchmarks.training.sample import drawn, write_backbone, write_cut_recipe
from codequarry.benchmarks.training.step_by_step import Trained, take_turns
from codequarry.data.pair import Pair
from codequarry.recipes.read import read_recipe, recipe_path


def test_one_that_fails_says_why_and_the_next_one_trains_to_its_end(
    some_pairs: list[Pair], small: tuple[str, ...], tmp_path: Path
) -> None:
    recipe = read_recipe(recipe_path("nano"), small)
    sample = drawn(some_pairs, recipe, 2)
    backbone = write_backbone(tmp_path / "backbone", recipe, some_pairs, None)
    file = write_cut_recipe(tmp_path, recipe, sample, backbone)
    turns: list[int] = []
    failing, whole = take_turns(
        [
            Contender("bad one", "ours", file, ("temprature=1",)),
            Contender("ours", "ours", file, ("precision=fp32",)),
        ],
        tmp_path,
        2,
        threads=1,
        together=False,
        to_the_end=True,
        between=turns.append,
    )
    assert failing.failed is not None
    assert "did you mean 'temperature'" in failing.failed
    assert failing.steps == []
    assert turns == [0, 1, 0, 1]

    assert whole.failed is None
    assert len(whole.steps) == 2
    assert (tmp_path / "ours/run/config.json").is_file()
    assert all(step.cpu > 0 and step.wall > 0 and step.tokens > 100 for step in whole.steps)
    assert whole.setup is not None
    memory = [whole.setup.peak_memory, *(step.peak_memory for step in whole.steps), whole.last_peak_memory]
    assert memory == sorted(memory)
    assert memory[0] > 10**8
    assert whole.setup.parameters == _without_table(recipe_layers=2, size=64, kv=16, wide=128)
    assert whole.setup.causal
    _same_losses_as_the_log(whole, tmp_path / "ours/run")


def test_tokens_of_packed_and_padded_texts_are_counted_alike() -> None:
    import torch

    mask = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]])
    padded = {"query_input_ids": mask, "query_attention_mask": mask}
    bounds = torch.tensor([0, 2, 6, 7])
    packed = {"query_cu_seq_lens_q": bounds, "query_cu_seq_lens_k": bounds, "query_max_length_q": 4}
    assert [column.tolist() for column in _lengths(padded)] == [[2, 4, 1]]
    assert [column.tolist() for column in _lengths(packed)] == [[2, 4, 1]]


def test_a_process_that_dies_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Called with all that a contender is told, this dies before it has said a word.
    monkeypatch.setattr("codequarry.benchmarks.training.step_by_step.train_in_turns", os._exit)
    (one,) = take_turns([Contender("lost", "ours", tmp_path)], tmp_path / "work", 1, threads=1)
    assert one.failed == "the process ended with 1; it said nothing"


def _without_table(recipe_layers: int, size: int, kv: int, wide: int) -> int:
    attention = 2 * size * size + 2 * size * kv + size + 2 * kv  # queries, keys and values have a bias
    return recipe_layers * (attention + 3 * size * wide + 2 * size) + size


def _same_losses_as_the_log(trained: Trained, out: Path) -> None:
    import json

    (checkpoint,) = (out / "checkpoints").glob("checkpoint-2")
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    logged = [entry["loss"] for entry in state["log_history"] if "loss" in entry]
    mean = sum(step.loss for step in trained.steps) / 2
    assert logged == [] or logged[-1] == pytest.approx(mean, rel=1e-3)
