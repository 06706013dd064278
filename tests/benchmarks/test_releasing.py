"""The whole way of a release is measured, on a small decoder, with the real commands and the local Hub."""

import argparse
import json
import subprocess
import sys
from dataclasses import replace

import pytest

from codequarry.benchmarks import releasing
from codequarry.benchmarks.random_run import write_random_run
from codequarry.benchmarks.releasing import STEPS, TAG, add_arguments, releasing_table, run
from codequarry.modules.decoder_shape import DecoderShape
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.build import build

SHAPE = DecoderShape(hidden_size=32, layers=1, heads=2, kv_heads=1, intermediate_size=64, vocabulary=600)


def given(*words):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory):
    """An untrained run of a recipe of its own: no definition has its name."""
    recipe = read_recipe(recipe_path("nano"))
    recipe = replace(
        recipe,
        name="tiny",
        backbone=replace(recipe.backbone, shape=SHAPE),
        matryoshka_dims=(32, 16),
        validation=None,
    )
    return write_random_run(recipe, tmp_path_factory.mktemp("runs") / "tiny")


def row(model, parameters):
    step = {"seconds": 1234.5, "peak_bytes": 3_160_000_000}
    load = [{"precision": "bfloat16", "worst_absolute_difference": 1e-3, "worst_cosine": 0.9999}]
    load += [{"precision": "float32", "worst_absolute_difference": 2.34e-7, "worst_cosine": 1.0}]
    return {
        "model": model,
        "trained": False,
        "parameters": parameters,
        "weight_files": 4,
        "bytes": 3_100_000_000,
        "steps": dict.fromkeys(STEPS, step) | {"card": {"seconds": 0.6, "peak_bytes": None}},
        "loads": [{"revision": TAG, "precisions": load}, {"revision": None, "precisions": load}],
    }


def test_the_whole_way_is_measured_and_noted_beside_other_models(tiny_run, tmp_path, capsys):
    out = tmp_path / "releasing.json"
    older, other = row("tiny", 1), row("huge", 10**9)
    out.write_text(json.dumps({"measured": "…", "rows": [older, other]}))
    run(given(tiny_run, "--out", out, "--work", tmp_path / "work", "--note", "a test"))
    record = json.loads(out.read_text())
    found, kept = record["rows"]
    assert kept == other
    assert (found["model"], found["repository"], found["trained"]) == ("tiny", "local/tiny", False)
    assert found["note"] == "a test"
    assert found["hardware"]["processor"]
    assert list(found["steps"]) == list(STEPS)
    for step in found["steps"].values():
        assert step["seconds"] > 0
        assert step["peak_bytes"] is None or step["peak_bytes"] > 20e6
    assert [load["revision"] for load in found["loads"]] == [TAG, None]
    for load in found["loads"]:
        (only,) = load["precisions"]
        assert only["precision"] == "float32"
        assert only["texts"] > 20
        assert only["worst_absolute_difference"] < 1e-5
    assert all(runtime["ok"] for runtime in found["runtimes"])
    assert list((tmp_path / "work").iterdir()) == []
    assert releasing_table(record) in capsys.readouterr().out


def test_bfloat16_is_compared_as_unit_vectors_and_float32_after_it(tiny_run, tmp_path):
    release = build(tiny_run, tmp_path / "release", dtype="bf16", in_memory="bf16", progress=False)
    words = [sys.executable, "-c", releasing._USER, release / "golden_vectors.json", release, ""]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["precision"], second["precision"]) == ("bfloat16", "float32")
    assert first["worst_absolute_difference"] > 1e-4
    assert 0.9995 < first["worst_cosine"] < 1 + 1e-6  # the plain product is 0.998: lengths are rounded too
    assert second["worst_absolute_difference"] < 1e-5
    assert not first["knows_codequarry"]


def test_a_release_that_gives_other_vectors_is_an_error_and_no_figure(tmp_path, monkeypatch):
    wrong = {"precision": "float32", "texts": 3, "worst_absolute_difference": 0.1, "worst_cosine": 0.9}
    program = f"print({json.dumps(json.dumps(wrong | {'knows_codequarry': False}))})"
    monkeypatch.setattr(releasing, "_USER", program)
    (tmp_path / "hub").mkdir()
    with pytest.raises(ValueError, match=r"org/name at v1 does not give the golden vectors: .*0\.1"):
        releasing._load(tmp_path, "org/name", "v1", "http://127.0.0.1:9")


def test_a_process_that_fails_is_an_error_and_no_figure(tmp_path, monkeypatch):
    monkeypatch.setattr(releasing, "_USER", "raise SystemExit(3)")
    (tmp_path / "hub").mkdir()
    with pytest.raises(ValueError, match="could not be loaded from the Hub"):
        releasing._load(tmp_path, "org/name", None, "http://127.0.0.1:9")


def test_the_table_says_what_the_results_say():
    shown = row("huge", 1_543_714_304)
    shown["steps"]["verify"] = {"seconds": 7.7, "peak_bytes": 45_200_000}
    assert releasing_table({"rows": [shown]}).splitlines()[-1] == (
        "| `huge` | 1,543.7M, random | 3,100 MB in 4 | 1,234 s, 3.2 GB | 8 s, 45 MB | 1 s | 1,234 s, 3.2 GB "
        "| bfloat16 1.0e-03, float32 2.3e-07 |"
    )


def test_an_unfinished_run_is_refused_before_anything_begins(tmp_path):
    with pytest.raises(ValueError, match=r"finished|missing"):
        run(given(tmp_path, "--out", tmp_path / "out.json"))
    assert not (tmp_path / "out.json").exists()
