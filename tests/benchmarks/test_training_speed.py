"""The two trainers compute the same, what is measured is kept, and what is doubtful is said."""

import argparse
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from codequarry.benchmarks import training_speed
from codequarry.benchmarks.timed_trainer import Setup, Step, TimedTrainer, _lengths
from codequarry.benchmarks.training_sample import Sample, drawn, write_backbone, write_cut_recipe
from codequarry.benchmarks.training_speed import Part, Plan, measure, parts_of
from codequarry.benchmarks.training_tables import (
    CACHED,
    ON_GPU,
    OURS,
    PUBLISHED,
    STOCK,
    run_table,
    speed_table,
    warnings_of,
)
from codequarry.benchmarks.training_turns import Roof, Trained, clock_of, step_flops, take_turns
from codequarry.data.mixture import batch_shares, part_of
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.recipes.schema import LossTerms, Recipe


@pytest.fixture(scope="module", autouse=True)
def small_matrices() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codequarry.benchmarks.training_turns._SIZES", {"cpu": (64, 256)})
        yield


def test_ours_and_the_stock_trainer_see_the_same_batches_and_have_the_same_losses(
    some_pairs: list[Pair], small: tuple[str, ...], tmp_path: Path
) -> None:
    plan = Plan(steps=2, warm_up=1, settings=small)
    found = measure(Part("nano", "fp32"), some_pairs, plan, tmp_path, "cpu")
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
    assert sum(found["sources"].values()) == plan.steps + plan.warm_up + 1
    assert (found["clock"], "run" in found) == ("cpu", False)


def test_on_a_gpu_trainers_run_one_after_the_other_and_a_run_is_projected(
    some_pairs: list[Pair], small: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], bool]] = []

    def fake(contenders: list[TimedTrainer], *_: Any, together: bool, **__: Any) -> list[Trained]:
        asked.append(([one.name for one in contenders], together))
        return [trained(one.name, [9.0, 1.0, 3.0]) for one in contenders]

    monkeypatch.setattr(training_speed, "take_turns", fake)
    monkeypatch.setattr(training_speed, "Roof", lambda *_: argparse.Namespace(best=1e9))
    plan = Plan(steps=2, warm_up=1, settings=small)
    real, longest = (
        measure(Part("0.5b", "bf16", lengths), some_pairs, plan, tmp_path / lengths, "cuda")
        for lengths in ("real", "longest")
    )
    assert asked == [([STOCK, OURS, CACHED], False), ([OURS], False)]
    steps = read_recipe(recipe_path("0.5b")).max_steps
    for found in (real, longest):  # a run has all kinds of batches: the mean of 1 and 3 seconds
        assert found["run"]["projected_hours"] == pytest.approx(steps * 2.0 / 3600, abs=0.005)
        assert found["run"]["published"]["hours"] == PUBLISHED["0.5b"].hours
        assert found["clock"] == "wall"
    assert real["rows"][1]["pairs_per_second"] == 8 / 2.0


def test_other_batches_are_found_out() -> None:
    one, other = trained(STOCK, [1.0, 1.0], tokens=10), trained(OURS, [1.0, 1.0], tokens=11)
    with pytest.raises(ValueError, match=r"step 1 .*: tokens sentence-transformers 10, ours 11"):
        training_speed._check([one, other])


def test_how_much_faster_is_told_step_by_step_without_the_warm_up() -> None:
    stock, ours = trained(STOCK, [99.0, 4.0, 6.0, 8.0]), trained(OURS, [1.0, 2.0, 2.0, 2.0], loss=1.0001)
    found = training_speed._beside(ours, stock, 1, "fp32", "cpu")
    assert found["times_stock"] == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert found["losses_agree"]
    apart = training_speed._beside(trained(OURS, [1.0] * 4, loss=1.01), stock, 1, "fp32", "cpu")
    assert (apart["losses_apart"], apart["losses_agree"]) == (1e-2, False)
    assert training_speed._beside(stock, stock, 1, "fp32", "cpu") == {}


def test_a_stock_trainer_that_does_not_fit_is_a_row_and_ours_is_an_error() -> None:
    failed = Trained(TimedTrainer(STOCK, "stock", Path()), None, [], "OutOfMemoryError: no room")
    row = training_speed._row(
        failed, Part("0.5b", "bf16"), Plan(), 8, training_speed.Roof("cpu", "bf16", 1), "cpu"
    )
    assert row == {"trainer": STOCK, "failed": "OutOfMemoryError: no room"}
    failed.contender = TimedTrainer(OURS, "ours", Path())
    with pytest.raises(ValueError, match=r"ours did not train 0\.5b, bf16: OutOfMemoryError"):
        training_speed._row(
            failed, Part("0.5b", "bf16"), Plan(), 8, training_speed.Roof("cpu", "bf16", 1), "cpu"
        )


def test_what_is_measured_is_kept_until_something_changes(
    some_pairs: list[Pair],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked: list[str] = []

    def fake(part: Part, *_: Any) -> dict[str, Any]:
        asked.append(part.name)
        return a_part(part)

    monkeypatch.setattr(training_speed, "measure", fake)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # so that it is set back
    write_pairs(tmp_path / "pairs.jsonl", some_pairs)
    out = tmp_path / "results/found.json"
    parser = argparse.ArgumentParser()
    training_speed.add_arguments(parser)

    def run(*words: str) -> list[str]:
        asked.clear()
        training_speed.run(parser.parse_args(["--data", str(tmp_path), "--out", str(out), *words]))
        return list(asked)

    assert run("--models", "mini") == ["mini, fp32", "mini, bf16"]
    record = json.loads(out.read_text())
    assert set(record["not_measured"]) == {part.name for part in parts_of(("nano", *ON_GPU))}
    assert record["not_measured"]["0.5b, bf16"] == "needs a GPU, and there was none"
    assert "benchmark" not in record  # else the report would look for scores in it

    assert run() == ["nano, fp32", "nano, bf16"]
    assert run() == []
    assert run("--models", "nano", "--steps", "3") == ["nano, fp32", "nano, bf16"]
    assert run("--models", "mini", "--fresh") == ["mini, fp32", "mini, bf16"]
    record = json.loads(out.read_text())
    assert list(record["parts"]) == ["nano, fp32", "nano, bf16", "mini, fp32", "mini, bf16"]
    assert {"hardware", "versions", "command", "plan", "data_sha256"} <= record["parts"]["nano, fp32"].keys()
    assert "instructions" in record["parts"]["nano, fp32"]["hardware"]
    assert "busy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("named", "device", "why"),
    [
        ("0.5b", "cpu", "on a GPU, and there is none here"),
        ("nano", "cuda", "on a CPU"),
        ("nanno", "cpu", "'nanno' is not measured"),
    ],
)
def test_a_model_that_this_device_does_not_measure_is_refused(named: str, device: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        training_speed._models(named, device)


def test_a_busy_machine_and_losses_apart_are_told() -> None:
    quiet = a_part(Part("nano", "bf16")) | {"load_before": 0.1, "load_after": 1.2}
    assert warnings_of(quiet, "nano, bf16", threads=1) == []
    assert "load average 9.0 before" in warnings_of(quiet | {"load_before": 9.0}, "nano", threads=1)[0]
    quiet["rows"][1] |= {"losses_apart": 0.2, "losses_agree": False}
    (sentence,) = warnings_of(quiet, "nano, bf16", threads=1)
    assert "2.0e-01 apart" in sentence


def test_the_tables_show_every_row_and_what_was_not_measured() -> None:
    record = {"parts": {part.name: a_part(part) for part in parts_of(("nano", "0.5b"))}}
    lines = speed_table(record).splitlines()
    assert lines[0].split(" | ")[-1] == "times stock |"
    assert "| `nano` fp32, 128 tokens | ours | 2.00 | 32.0 | 7,600 | 40% | **3.0** (2.0 to 4.0) |" in lines
    assert len(lines) == 2 + 4 * 2
    runs = run_table(record).splitlines()
    assert "| `0.5b` | as they are | 0.70 for 1,500 steps | 90 GB | 8.3 | 4 A100 80 GB |" in runs
    assert "| `1.5b` |  | not measured |  | 12 | 4 A100 80 GB |" in runs


def test_every_published_run_is_of_a_recipe_with_its_number_of_steps() -> None:
    for row in PUBLISHED.values():
        assert read_recipe(recipe_path(row.recipe)).max_steps == 1500
        assert row.recipe in ON_GPU
        assert row.source.startswith("https://arxiv.org/")


def trained(name: str, seconds: list[float], loss: float = 1.0, tokens: int = 10) -> Trained:
    contender = TimedTrainer(name, "stock" if name == STOCK else "ours", Path())
    setup = Setup(1, 1, 1, True, "adamw", "sdpa", True, 0)
    return Trained(contender, setup, [Step(time, time, loss, tokens, 0, 0) for time in seconds])


def a_part(part: Part) -> dict[str, Any]:
    def spread(middle: float) -> dict[str, float]:
        return {"median": middle, "low": middle - 1, "high": middle + 1}

    row = {
        "cpu_seconds": spread(2.0), "wall_seconds": spread(2.0), "pairs_per_second": 32.0,
        "tokens": spread(7600), "of_matmul_peak": {"median": 0.4}, "peak_memory": 90 * 10**9,
    }  # fmt: skip
    found: dict[str, Any] = {
        "recipe": part.recipe, "format": part.format, "lengths": part.lengths, "max_length": 128,
        "device": "cpu", "clock": "cpu", "load_before": 7.0, "load_after": 7.0,
        "rows": [row | {"trainer": STOCK}, row | {"trainer": OURS, "times_stock": spread(3.0)}],
    }  # fmt: skip
    if part.recipe in ON_GPU:
        found["run"] = {"steps": 1500, "projected_hours": 0.7}
    return found


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
            TimedTrainer("bad one", "ours", file, ("temprature=1",)),
            TimedTrainer("ours", "ours", file, ("precision=fp32",)),
        ],
        tmp_path,
        2,
        threads=1,
        together=False,
        to_the_end=True,
        between=turns.append,
    )
    assert failing.failed is not None
    assert "Did you mean 'temperature'" in failing.failed
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
    monkeypatch.setattr("codequarry.benchmarks.training_turns.train_in_turns", os._exit)
    (one,) = take_turns([TimedTrainer("lost", "ours", tmp_path)], tmp_path / "work", 1, threads=1)
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


@pytest.fixture
def recipe(small: tuple[str, ...]) -> Recipe:
    return read_recipe(recipe_path("nano"), small)


def test_steps_are_drawn_as_the_mixture_draws_them_and_bring_their_pairs(
    some_pairs: list[Pair], recipe: Recipe
) -> None:
    sample = drawn(some_pairs, recipe, 400)
    shares = batch_shares({"a:nl2code": 120, "b:code2nl": 60}, recipe.mixture_exponent)
    assert sum(sample.parts.values()) == 400
    for part, share in shares.items():
        assert sample.parts[part] / 400 == pytest.approx(share, abs=0.08)
    assert Counter(map(part_of, sample.pairs)) == {"a:nl2code": 120, "b:code2nl": 60}
    assert not any(pair.negatives for pair in sample.pairs)

    few = drawn(some_pairs, recipe, 1)
    assert len(few.pairs) == 4 * recipe.batch_size
    assert drawn(some_pairs, recipe, 1) == few


def test_a_recipe_s_weights_count(some_pairs: list[Pair], recipe: Recipe) -> None:
    weighted = replace(recipe, source_weights={"a": 0.1})
    sample = drawn(some_pairs, weighted, 400)
    shares = batch_shares({"a:nl2code": 120, "b:code2nl": 60}, recipe.mixture_exponent, {"a": 0.1})
    assert sample.parts["a:nl2code"] / 400 == pytest.approx(shares["a:nl2code"], abs=0.08)
    assert drawn(some_pairs, replace(recipe, source_weights={"*:code2nl": 0.0}), 5).parts == {"a:nl2code": 5}


def test_longest_texts_are_their_own_repeated(some_pairs: list[Pair], recipe: Recipe) -> None:
    from codequarry.modules.random_backbone import train_tokenizer

    tokenizer = train_tokenizer((pair.document for pair in some_pairs), 600)
    before, after = (drawn(some_pairs, recipe, 2, lengths).pairs for lengths in ("real", "longest"))
    for real, long in zip(before, after, strict=True):
        for short, text in ((real.query, long.query), (real.document, long.document)):
            assert text.startswith(f"{short}\n")
            assert len(tokenizer(text)["input_ids"]) > recipe.max_length


def test_pairs_that_fill_no_batch_are_refused(some_pairs: list[Pair], recipe: Recipe) -> None:
    with pytest.raises(ValueError, match="among 5 pairs fills one batch of 8"):
        drawn([pair for pair in some_pairs if pair.source == "few"], recipe, 1)


def test_the_cut_recipe_does_the_same_work_and_nothing_else(
    some_pairs: list[Pair], recipe: Recipe, small: tuple[str, ...], tmp_path: Path
) -> None:
    elaborate = read_recipe(recipe_path("nano"), [*small, "objective.spread_out=0.1", "temperature=0.02"])
    sample = drawn(some_pairs, elaborate, 3)
    cut = read_recipe(write_cut_recipe(tmp_path, elaborate, sample, tmp_path / "weights"))
    for name in ("pooling", "max_length", "matryoshka_dims", "batch_size", "temperature", "learning_rate"):
        assert getattr(cut, name) == getattr(elaborate, name), name
    assert (cut.max_steps, cut.objective, cut.validation, cut.lora) == (3, LossTerms(), None, None)
    assert cut.backbone.name == str(tmp_path / "weights")
    assert read_pairs(cut.data).pairs == sample.pairs


def test_the_cut_recipe_draws_each_part_as_often_as_the_sample_says(recipe: Recipe, tmp_path: Path) -> None:
    parts = {"a:nl2code": 5, "b:code2nl": 2}
    cut = read_recipe(write_cut_recipe(tmp_path, recipe, Sample([], parts), tmp_path))
    shares = batch_shares({"a:nl2code": 160, "b:code2nl": 60}, cut.mixture_exponent, cut.source_weights)
    assert shares == pytest.approx({"a:nl2code": 5 / 7, "b:code2nl": 2 / 7})


@pytest.mark.parametrize("tokens", [16, 200])
def test_the_operations_of_a_step_are_those_that_torch_counts(tokens: int) -> None:
    import torch
    from torch.utils.flop_counter import FlopCounterMode
    from transformers import Qwen2Config, Qwen2Model

    config = Qwen2Config(
        vocab_size=50, hidden_size=64, intermediate_size=160, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, attn_implementation="eager",
    )  # fmt: skip
    model = Qwen2Model(config)
    with FlopCounterMode(display=False) as counter:
        model(input_ids=torch.arange(tokens)[None] % 50).last_hidden_state.sum().backward()

    table = model.embed_tokens.weight.numel()
    parameters = sum(weight.numel() for weight in model.parameters()) - table
    setup = Setup(parameters, 3, 64, False, "", "eager", False, 0)
    needed = step_flops(setup, Step(0, 0, 0, tokens, tokens**2, 0))
    # The first layer's inputs come from the table through a norm, so nothing is left out; norms, biases and
    # rotations are what torch does not count.
    assert needed == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_causal_attention_needs_half() -> None:
    step = Step(0, 0, 0, 10, 100, 0)
    whole, causal = (step_flops(Setup(0, 2, 8, causal, "", "", False, 0), step) for causal in (False, True))
    assert (whole, causal) == (12 * 2 * 8 * 100, 6 * 2 * 8 * 100)


def test_the_roof_only_rises_and_is_a_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("codequarry.benchmarks.training_turns._SIZES", {"cpu": (64, 256)})
    roof = Roof("cpu", "fp32", 1)
    roof.look()
    first = roof.best
    roof.look()
    assert roof.best >= first
    assert 1e8 < first < 1e13


def test_one_thread_is_timed_by_the_processor() -> None:
    assert [clock_of("cpu", 1), clock_of("cpu", 2), clock_of("cuda", 1)] == ["cpu", "wall", "wall"]
