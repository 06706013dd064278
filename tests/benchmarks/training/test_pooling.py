"""The ablation of poolings: the same pairs for every run, no run twice, and an honest last sentence."""

import argparse
import json
import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from codequarry.benchmarks.training import pooling
from codequarry.benchmarks.training.pooling import (
    POOLINGS,
    Trained,
    ablate,
    conclusion,
    pooling_table,
    summary,
)
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs

SMALL = [
    "backbone.shape.hidden_size=64", "backbone.shape.layers=2", "backbone.shape.heads=8",
    "backbone.shape.intermediate_size=128", "backbone.shape.vocabulary=600", "matryoshka_dims=[64, 16]",
    "max_length=96", "batch_size=8", "save_steps=2", "precision=fp32", "validation=none",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sources of two tasks, large enough that some of each are held out."""
    folder = tmp_path_factory.mktemp("data")
    words = [f"{a}{b}{c}" for a in ("sort", "parse", "send") for b in ("list", "date") for c in range(120)]
    for source, task in (("a", "nl2code"), ("b", "code2nl")):
        write_pairs(
            folder / f"{source}.jsonl.gz",
            [
                Pair(task, f"{source} {word}", f"def {source}_{word}(x): ...", source, "python")
                for word in words
            ],
        )
    return folder


def runs(*scores: tuple[str, float]) -> list[Trained]:
    """Runs of poolings with these nDCG@10, the seeds of each counted from 1."""
    seeds: dict[str, int] = {}
    found = []
    for name, score in scores:
        seeds[name] = seeds.get(name, 0) + 1
        found.append(Trained(name, seeds[name], score, score / 2, score / 4, 60.0))
    return found


def test_runs_that_are_there_are_kept_and_every_pooling_has_every_seed_on_the_same_pairs(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    parser = argparse.ArgumentParser()
    pooling.add_arguments(parser)
    words = ["--data", str(data), "--work", str(work), "--out", str(out), "--steps", "2"]
    words += [part for setting in SMALL for part in ("--set", setting)]
    pooling.run(parser.parse_args([*words, "--seeds", "1"]))
    first = json.loads((out / pooling.RESULTS).read_text())
    assert "one seed says nothing" in first["conclusion"][0]

    capsys.readouterr()
    pooling.run(parser.parse_args([*words, "--seeds", "2"]))
    assert capsys.readouterr().out.count("is finished") == len(POOLINGS)
    results = json.loads((out / pooling.RESULTS).read_text())
    assert [run for run in results["runs"] if run["seed"] == 1] == first["runs"]
    assert {(run["pooling"], run["seed"]) for run in results["runs"]} == {
        (name, seed) for name in POOLINGS for seed in (1, 2)
    }
    assert set(results["poolings"]) == set(POOLINGS)
    assert {row["set"] for row in results["rows"]} == {"nl2code", "code2nl", "mean"}
    assert {"hardware", "versions", "command"} <= results.keys()
    for run in results["runs"]:
        recipe = json.loads((work / f"{run['pooling']}-{run['seed']}/recipe.json").read_text())["recipe"]
        assert (recipe["pooling"], recipe["seed"], recipe["max_steps"]) == (run["pooling"], run["seed"], 2)
    held_out, trained_on = (read_pairs(work / "pairs" / name).pairs for name in ("heldout", "train"))
    assert not {pair.query for pair in held_out} & {pair.query for pair in trained_on}

    with pytest.raises(ValueError, match="choose another --work"):
        ablate(data, work, steps=2, pairs_per_source=100, settings=SMALL)


def test_the_summary_is_mean_deviation_and_range_over_seeds_with_the_best_first() -> None:
    found = summary(runs(("mean", 0.30), ("mean", 0.32), ("lasttoken", 0.40), ("lasttoken", 0.43)))
    assert list(found) == ["lasttoken", "mean"]
    score: dict[str, Any] = found["lasttoken"]["ndcg@10"]
    assert score["mean"] == pytest.approx(0.415)
    assert score["deviation"] == pytest.approx(statistics.stdev([0.40, 0.43]), abs=1e-4)
    assert (score["range"], score["by_seed"]) == (pytest.approx(0.03), {"1": 0.40, "2": 0.43})
    assert found["mean"]["recall@1"]["mean"] == pytest.approx(0.0775)
    assert "\n| `lasttoken` | 41.5 ±2.1 |" in pooling_table(found)


@pytest.mark.parametrize(
    ("scores", "sentence"),
    [
        (
            [("a", 0.40), ("a", 0.41), ("b", 0.30), ("b", 0.31)],
            r"a is 10.0 points .* of b, in 2 of 2 .*: a difference",
        ),
        (
            [("a", 0.40), ("a", 0.35), ("b", 0.38), ("b", 0.33)],
            r"2.0 points .* 2 of 2 .* over 5.0: not shown",
        ),
        ([("a", 0.60), ("a", 0.40), ("b", 0.39), ("b", 0.41)], r"10.0 points .* 1 of 2 seeds; .*: not shown"),
        ([("a", 0.40), ("b", 0.30)], "one seed says nothing"),
    ],
)
def test_a_difference_is_one_only_when_it_is_larger_than_what_seeds_change(
    scores: list[tuple[str, float]], sentence: str
) -> None:
    (found,) = conclusion(summary(runs(*scores)))
    assert re.search(sentence, found), found


def test_data_too_small_to_hold_a_pair_out_is_refused(tmp_path: Path) -> None:
    write_pairs(tmp_path / "few.jsonl", [Pair("qa", f"q {n}", f"d {n}", "s", "python") for n in range(9)])
    with pytest.raises(ValueError, match="too few pairs to hold one out"):
        ablate(tmp_path, tmp_path / "work", settings=SMALL)
