"""Variants of a recipe: trained once each, means and deviations as by hand, and the same file resumes."""

import argparse
import json
import math
from pathlib import Path

import pytest

from codequarry.benchmarks import ablation
from codequarry.benchmarks.ablation import ablate, ablation_table, summary
from codequarry.benchmarks.evaluate import score
from codequarry.benchmarks.models import benchmark_model
from codequarry.data.eval_set import pair_sets
from codequarry.data.pair import Pair
from codequarry.data.pair_files import read_pairs, write_pairs
from codequarry.inference.load import load

SMALL = [
    "backbone.shape.hidden_size=64", "backbone.shape.layers=2", "backbone.shape.heads=8",
    "backbone.shape.intermediate_size=128", "backbone.shape.vocabulary=600", "matryoshka_dims=[64, 16]",
    "max_length=96", "batch_size=8", "save_steps=2", "max_steps=2", "precision=fp32", "validation=none",
]  # fmt: skip
VARIANTS = [["pooling=mean"], ["pooling=lasttoken", "temperature=0.1"]]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train` and `heldout`, two sources of two tasks in each."""
    folder = tmp_path_factory.mktemp("pairs")
    for part, first, last in (("train", 0, 40), ("heldout", 40, 60)):
        for source, task in (("a", "nl2code"), ("b", "code2nl")):
            write_pairs(
                folder / part / f"{source}.jsonl.gz",
                [
                    Pair(task, f"sort {source} {n}", f"def {source}_{n}(x): return {n}", source, "python")
                    for n in range(first, last)
                ],
            )
    return folder


def test_every_variant_has_every_seed_and_what_the_file_holds_is_not_run_again(
    pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results/x.json"
    words = ["nano", "--heldout", str(pairs / "heldout"), "--out", str(out)]
    words += [word for variant in VARIANTS for word in ("--variant", *variant)]
    words += [word for setting in (f"data={pairs / 'train'}", *SMALL) for word in ("--set", setting)]
    parser = argparse.ArgumentParser()
    ablation.add_arguments(parser)
    ablation.run(parser.parse_args([*words, "--seeds", "1"]))
    first = json.loads(out.read_text())
    trained: list[str] = []

    def watched(file: Path, folder: Path, **options: object) -> None:
        trained.append(folder.name)
        train(file, folder, **options)

    train = ablation.train
    monkeypatch.setattr(ablation, "train", watched)
    capsys.readouterr()
    ablation.run(parser.parse_args([*words, "--seeds", "2"]))
    assert trained == ["pooling=mean-seed2", "pooling=lasttoken_temperature=0.1-seed2"]
    record = json.loads(out.read_text())
    assert record["runs"][:2] == first["runs"]
    names = [" ".join(variant) for variant in VARIANTS]
    assert [(run["variant"], run["seed"]) for run in record["runs"]] == [
        (name, seed) for seed in (1, 2) for name in names
    ]
    for run in record["runs"]:
        assert run["hardware"]["processor"]
        assert run["versions"]
        assert run["ndcg@10"] == pytest.approx(
            sum(found["ndcg@10"] for found in run["by_task"].values()) / 2, abs=1e-4
        )
    assert record["recipe"]["data"] == "train"
    assert str(pairs) not in json.dumps(record), "no folder of this machine"
    assert ablation_table(record) in capsys.readouterr().out
    for name in names:
        one, two = (run["mrr@10"] for run in record["runs"] if run["variant"] == name)
        found = record["variants"][name]
        assert found["runs"] == 2
        assert found["mrr@10"]["mean"] == pytest.approx((one + two) / 2, abs=1e-4)
        assert found["mrr@10"]["deviation"] == pytest.approx(abs(one - two) / math.sqrt(2), abs=1e-4)

    folder = out.with_suffix(".runs") / "pooling=lasttoken_temperature=0.1-seed2"
    chosen = json.loads((folder / "recipe.json").read_text())["recipe"]
    assert (chosen["pooling"], chosen["temperature"], chosen["seed"]) == ("lasttoken", 0.1, 2)
    rows = score(pair_sets(read_pairs(pairs / "heldout").pairs), [benchmark_model("it", load(str(folder)))])
    by_set = {row.set: row.ndcg_at_10 for row in rows if row.name == "it"}
    by_set.pop("mean")
    assert {task: found["ndcg@10"] for task, found in record["runs"][3]["by_task"].items()} == by_set

    with pytest.raises(ValueError, match=r"cannot be compared with these: recipe differs"):
        ablation.run(parser.parse_args([*words, "--set", "max_steps=3"]))
    write_pairs(tmp_path / "other.jsonl", [Pair("qa", "q", "d", "s", "python")])
    with pytest.raises(ValueError, match=r"cannot be compared with these: heldout differs"):
        ablation.run(parser.parse_args([*words, "--heldout", str(tmp_path / "other.jsonl")]))


def test_the_summary_is_mean_and_deviation_over_seeds_with_the_best_first() -> None:
    runs = [
        {"variant": name, "seed": seed, "ndcg@10": value, "mrr@10": value / 2, "recall@1": value / 4,
         "seconds": 60}
        for name, values in (("mean", (0.30, 0.32)), ("last", (0.40, 0.43, 0.46)), ("one", (0.1,)))
        for seed, value in enumerate(values, 1)
    ]  # fmt: skip
    found = summary(runs)
    assert list(found) == ["last", "mean", "one"]
    assert found["last"]["ndcg@10"] == {"mean": 0.43, "deviation": 0.03}
    assert found["mean"]["mrr@10"] == {"mean": 0.155, "deviation": 0.0071}  # 0.01 / sqrt(2)
    assert found["one"]["recall@1"] == {"mean": 0.025, "deviation": 0.0}
    assert ablation_table({"variants": found}).splitlines()[2:] == [
        "| `last` | 3 | 43.0 ±3.0 | 21.5 ±1.5 | 10.8 ±0.8 | 60 |",
        "| `mean` | 2 | 31.0 ±1.4 | 15.5 ±0.7 | 7.8 ±0.4 | 60 |",
        "| `one` | 1 | 10.0 ±0.0 | 5.0 ±0.0 | 2.5 ±0.0 | 60 |",
    ]


@pytest.mark.parametrize(
    ("variants", "sentence"),
    [
        ([["pooling=mean"], ["pooling=mean"]], "'pooling=mean' is given twice"),
        ([[], []], r"'\(unchanged\)' is given twice"),
        ([["seed=4"]], "seed is not a setting of an ablation: pass --seeds"),
        ([["pooling=mean"], ["temprature=1"]], "Did you mean 'temperature'"),
    ],
)
def test_variants_that_cannot_be_compared_are_refused_before_anything_is_trained(
    variants: list[list[str]], sentence: str, pairs: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=sentence):
        ablate("nano", variants, pairs / "heldout", tmp_path / "x.json", settings=[f"data={pairs / 'train'}"])
    assert list(tmp_path.iterdir()) == []
