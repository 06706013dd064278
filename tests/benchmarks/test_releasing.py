"""A whole release is measured, on a small decoder, with the real commands and the local Hub."""

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from codequarry.benchmarks import releasing
from codequarry.benchmarks.releasing import (
    LOADS,
    STEPS,
    TAG,
    add_arguments,
    files_table,
    releasing_table,
    run,
)
from codequarry.modules.build import build_model
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.build import build
from codequarry.training.run_folder import finish, open_run


def given(*words: object) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture(autouse=True)
def hub_of_this_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package has no tests beside it."""
    monkeypatch.setattr(releasing, "_HUB", Path(__file__).parents[1] / "local_hub" / "server.py")


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, small_decoder: Path) -> Path:
    """An untrained run of a recipe of its own: no definition has its name."""
    recipe = replace(read_recipe(recipe_path("nano")), name="tiny", matryoshka_dims=(64, 32), validation=None)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    open_run(folder, recipe, "none", fresh=False)
    model = build_model(str(small_decoder), max_length=recipe.max_length, dims=recipe.matryoshka_dims)
    record = {"recipe": asdict(recipe), "steps": 0, "seconds": 0, "data": [], "hardware": {}, "versions": {}}
    finish(folder, model, record)
    return folder


def row(model: str, parameters: int) -> dict[str, Any]:
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


def test_every_step_and_every_load_is_measured_and_written_beside_other_models(
    tiny_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, other = tmp_path / "results", row("huge", 10**9)
    out.mkdir()
    (out / "releasing.json").write_text(json.dumps({"measured": "…", "rows": [row("tiny", 1), other]}))
    run(given(tiny_run, "--out", out, "--work", tmp_path / "work", "--note", "a test"))
    record = json.loads((out / "releasing.json").read_text())
    found, kept = record["rows"]
    assert kept == other
    assert (found["model"], found["repository"], found["trained"]) == ("tiny", "local/tiny", False)
    assert found["note"] == "a test"
    assert found["hardware"]["processor"]
    assert list(found["files"]) == ["tiny/model.safetensors"]
    assert list(found["steps"]) == list(STEPS)
    for step in found["steps"].values():
        assert step["seconds"] > 0
        assert step["cpu_seconds"] > 0
        assert step["peak_bytes"] is None or step["peak_bytes"] > 20e6
    assert [(load["library"], load["revision"]) for load in found["loads"]] == [
        ("sentence-transformers", TAG),
        *((library, None) for library in LOADS),
    ]
    for load in found["loads"]:
        (only,) = load["precisions"]
        assert only["texts"] >= 2
        assert only["worst_absolute_difference"] < 1e-5
    assert all(runtime["ok"] for runtime in found["runtimes"])
    assert json.loads((out / "verify-tiny.json").read_text())["rows"] == found["runtimes"]
    assert not (tmp_path / "work").exists()
    assert releasing_table(record) in capsys.readouterr().out


def test_bfloat16_is_compared_as_unit_vectors_and_float32_after_it(tiny_run: Path, tmp_path: Path) -> None:
    release = build(tiny_run, tmp_path / "release", dtype="bf16", in_memory="bf16", progress=False)
    words = [
        sys.executable,
        "-c",
        LOADS["sentence-transformers"],
        release / "golden_vectors.json",
        release,
        "",
    ]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True, cwd=tmp_path)
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert (first["precision"], second["precision"]) == ("bfloat16", "float32")
    assert first["worst_absolute_difference"] > 1e-4
    assert 0.9995 < first["worst_cosine"] < 1 + 1e-6  # the plain product is 0.998: lengths are rounded too
    assert second["worst_absolute_difference"] < 1e-5
    assert not first["imported_codequarry"]


@pytest.fixture
def place(tiny_run: Path, tmp_path: Path) -> Path:
    (tmp_path / "hub").mkdir()
    (tmp_path / "release").mkdir()
    shutil.copyfile(tiny_run / "config.json", tmp_path / "release" / "config.json")
    return tmp_path


def load(place: Path) -> dict[str, Any]:
    address = "http://127.0.0.1:9"
    return releasing.load(place, place / "release", "org/name", address, "sentence-transformers", "v1")


def test_a_release_that_gives_other_vectors_is_an_error_and_no_figure(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = {"precision": "float32", "texts": 3, "worst_absolute_difference": 0.1, "worst_cosine": 0.9}
    program = f"print({json.dumps(json.dumps(wrong | {'imported_codequarry': False}))})"
    monkeypatch.setitem(LOADS, "sentence-transformers", program)
    with pytest.raises(ValueError, match=r"org/name at v1 in .* does not give the golden vectors: .*0\.1"):
        load(place)


def test_a_process_that_fails_is_an_error_and_no_figure(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LOADS, "sentence-transformers", "raise SystemExit(3)")
    with pytest.raises(ValueError, match="could not be loaded from the Hub"):
        load(place)


def test_the_table_shows_processor_seconds_where_they_were_measured() -> None:
    shown = row("huge", 1_543_714_304)
    shown["steps"]["verify"] = {"seconds": 7.7, "peak_bytes": 45_200_000}
    shown["steps"]["publish"] = {"seconds": 900.0, "cpu_seconds": 70.4, "peak_bytes": 45_200_000}
    assert releasing_table({"rows": [shown]}).splitlines()[-1] == (
        "| `huge` | 1,543.7M, random | 3,100 MB in 4 | 1,234 s, 3.2 GB | 8 s, 45 MB | 1 s "
        "| 70 s of CPU, 45 MB | bfloat16 1.0e-03, float32 2.3e-07 |"
    )
    del shown["steps"]["publish"]
    assert releasing_table({"rows": [shown | {"loads": []}]}).endswith("| 1 s | - | - |")
    files = {"files": {"tiny/model.safetensors": 988_000_000}}
    assert files_table(files).splitlines()[-1] == "| `tiny/model.safetensors` | 988 |"


def test_an_unfinished_run_is_refused_and_a_folder_with_files_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="ended with"):
        run(given(tmp_path, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").touch()
    with pytest.raises(ValueError, match="is not empty"):
        run(given(tmp_path, "--out", tmp_path / "out", "--work", tmp_path))
    assert (tmp_path / "mine").exists()
