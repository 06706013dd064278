"""The two trainers compute the same, what is measured is kept, and what is doubtful is said."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest

from codequarry.benchmarks import training_speed
from codequarry.benchmarks.timed_trainer import MatmulPeak, Setup, Step, TimedTrainer
from codequarry.benchmarks.training_speed import (
    CACHED,
    ON_GPU,
    OURS,
    PUBLISHED,
    STOCK,
    Part,
    Plan,
    measure,
    parts_of,
    run_table,
    speed_table,
    warnings_of,
)
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.recipes.read import read_recipe, recipe_path


@pytest.fixture(scope="module", autouse=True)
def small_matrices() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codequarry.benchmarks.timed_trainer._SIZES", {"cpu": (64, 256)})
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

    def fake(trainers: list[TimedTrainer], *_: Any, together: bool, **__: Any) -> list[None]:
        asked.append(([one.name for one in trainers], together))
        for one in trainers:
            like = trained(one.name, [9.0, 1.0, 3.0])
            one.setup, one.steps = like.setup, like.steps
        return []

    monkeypatch.setattr(training_speed, "take_turns", fake)
    monkeypatch.setattr(training_speed, "MatmulPeak", lambda *_: argparse.Namespace(best=1e9, clock="wall"))
    plan = Plan(steps=2, warm_up=1, settings=small)
    real, longest = (
        measure(Part("0.5b", "bf16", lengths), some_pairs, plan, tmp_path / lengths, "cuda")
        for lengths in ("real", "longest")
    )
    assert asked == [([STOCK, OURS, CACHED], False), ([OURS], False)]
    steps = read_recipe(recipe_path("0.5b")).max_steps
    for found in (real, longest):  # a run has all kinds of batches: the mean of 1 and 3 seconds
        assert found["run"]["projected_hours"] == pytest.approx(steps * 2.0 / 3600, abs=0.005)
        assert found["run"]["published"]["hours"] == PUBLISHED["0.5b"]["hours"]
        assert found["clock"] == "wall"
    assert real["rows"][1]["pairs_per_second"] == 8 / 2.0


def test_other_batches_are_found_out() -> None:
    one, other = trained(STOCK, [1.0, 1.0], tokens=10), trained(OURS, [1.0, 1.0], tokens=11)
    with pytest.raises(ValueError, match=r"step 1 .*: tokens sentence-transformers 10, ours 11"):
        training_speed._check_batches([one, other])


def row(one: TimedTrainer, stock: TimedTrainer, warm_up: int = 1) -> dict[str, Any]:
    peak = MatmulPeak("cpu", "fp32", 1, best=1e9)
    return training_speed._row(one, stock, Part("nano", "fp32"), warm_up, 8, peak)


def test_how_much_faster_is_measured_step_by_step_without_the_warm_up() -> None:
    stock, ours = trained(STOCK, [99.0, 4.0, 6.0, 8.0]), trained(OURS, [1.0, 2.0, 2.0, 2.0], loss=1.0001)
    found = row(ours, stock)
    assert found["times_stock"] == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert found["losses_agree"]
    apart = row(trained(OURS, [1.0] * 4, loss=1.01), stock)
    assert (apart["losses_apart"], apart["losses_agree"]) == (1e-2, False)
    assert "times_stock" not in row(stock, stock)


def test_a_stock_trainer_that_does_not_fit_is_a_row_and_ours_is_an_error() -> None:
    stock, ours = trained(STOCK, []), trained(OURS, [1.0, 2.0])
    stock.failed = "OutOfMemoryError: no room"
    assert row(stock, stock) == {"trainer": STOCK, "failed": "OutOfMemoryError: no room"}
    assert "times_stock" not in row(ours, stock)
    ours.failed = stock.failed
    with pytest.raises(ValueError, match=r"ours did not train nano, fp32: OutOfMemoryError"):
        row(ours, stock)


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


def test_a_busy_machine_and_losses_apart_are_warned_of() -> None:
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
    for name, run in PUBLISHED.items():
        assert read_recipe(recipe_path(name)).max_steps == 1500
        assert name == run["recipe"]
        assert name in ON_GPU
        assert run["source"].startswith("https://arxiv.org/")


def trained(name: str, seconds: list[float], loss: float = 1.0, tokens: int = 10) -> TimedTrainer:
    steps = [Step(time, time, loss, tokens, 1.0, 0) for time in seconds]
    setup = Setup(grad_cache=True, attention="sdpa", optimizer="adamw", parameters=1)
    return TimedTrainer(name, "stock" if name == STOCK else "ours", Path(), setup=setup, steps=steps)


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
