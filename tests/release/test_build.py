import json
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import files
from pathlib import Path

import pytest

from codequarry.release import build as module
from codequarry.release import layout
from codequarry.release.build import build
from codequarry.release.manifest import check_manifest
from codequarry.release.registry import definitions
from codequarry.release.weights import dtype_in_memory, dtype_on_disk


def test_a_release_holds_these_files_and_no_others(built):
    found = sorted(path.relative_to(built).as_posix() for path in built.rglob("*") if path.is_file())
    assert found == [
        "1_Pooling/config.json",
        "2_Normalize/config.json",
        "LICENSE",
        "README.md",
        "card.json",
        "config.json",
        "config_sentence_transformers.json",
        "golden_vectors.json",
        "handler.py",
        "manifest.json",
        "model.safetensors",
        "modules.json",
        "sentence_bert_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    ]
    assert check_manifest(built) == []


def as_recipe(run, name):
    """The run, as if a recipe of this name had made it."""
    record = json.loads((run / "training.json").read_text())
    record["recipe"]["name"] = name
    (run / "training.json").write_text(json.dumps(record))
    return run


def test_what_is_not_asked_for_is_as_defined_for_the_model_that_the_recipe_names(run, tmp_path, monkeypatch):
    row = replace(definitions()["mini"], max_shard_bytes=40_000)
    assert (row.dtype, row.in_memory) == ("bf16", "fp32")
    monkeypatch.setattr(module, "definition_for", lambda recipe: row if recipe["name"] == "mini" else None)
    release = build(as_recipe(run, "mini"), tmp_path / "mini", progress=False)
    assert (dtype_on_disk(release), dtype_in_memory(release)) == ("bf16", "fp32")
    assert len(list(release.glob("*.safetensors"))) > 2
    assert "bf16" in (release / "README.md").read_text()


def test_what_is_asked_for_comes_before_what_is_defined(run, tmp_path):
    as_recipe(run, "mini")
    asked = build(run, tmp_path / "a", dtype="fp32", largest_shard=100_000, progress=False)
    assert (dtype_on_disk(asked), dtype_in_memory(asked)) == ("fp32", "fp32")
    assert len(list(asked.glob("*.safetensors"))) > 1
    asked = build(run, tmp_path / "b", in_memory="bf16", progress=False)
    assert (dtype_on_disk(asked), dtype_in_memory(asked)) == ("bf16", "bf16")


def test_a_model_that_is_not_defined_is_in_fp32_and_in_one_file(run, tmp_path):
    release = build(as_recipe(run, "own"), tmp_path / "own", progress=False)
    assert (dtype_on_disk(release), dtype_in_memory(release)) == ("fp32", "fp32")
    assert len(list(release.glob("*.safetensors"))) == 1


def test_nothing_is_left_beside_a_release(built):
    assert [path.name for path in built.parent.iterdir()] == [built.name]


def test_no_path_of_this_machine_gets_into_a_release(built, decoder_run):
    for path in built.rglob("*.json"):
        assert str(decoder_run.parent) not in path.read_text(encoding="utf-8"), path
    assert str(Path.home()) + "/" not in (built / "README.md").read_text(encoding="utf-8")


def test_the_card_shows_the_results_it_was_given(decoder_run, tmp_path):
    row = {"model": "nano", "task": "qa", "queries": 7, "documents": 70, "ndcg@10": 0.5}
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"benchmark": "held-out", "rows": [row]}))
    release = build(decoder_run, tmp_path / "nano", results=results, progress=False)
    card = (release / "README.md").read_text()
    assert "| nano | qa | qa | 7 | 70 | 0.500 | not measured | not measured |" in card


def test_a_file_that_is_no_results_file_is_refused_before_anything_is_written(decoder_run, tmp_path):
    (tmp_path / "results.json").write_text("[]")
    with pytest.raises(ValueError, match=r"results\.json has no rows"):
        build(decoder_run, tmp_path / "nano", results=tmp_path / "results.json", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json"]


def test_an_existing_folder_is_not_built_over(decoder_run, release):
    before = (release / "manifest.json").read_bytes()
    with pytest.raises(ValueError, match=r"exists.*--replace"):
        build(decoder_run, release, dtype="bf16", progress=False)
    assert (release / "manifest.json").read_bytes() == before


def test_replace_takes_the_place_of_a_release(decoder_run, release):
    build(decoder_run, release, dtype="bf16", replace=True, progress=False)
    assert json.loads((release / "config.json").read_text())["dtype"] == "bfloat16"
    assert [path.name for path in release.parent.iterdir()] == [release.name]


def test_replace_does_not_touch_a_folder_that_is_no_release(decoder_run, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(ValueError, match="is not a release"):
        build(decoder_run, tmp_path / "thesis", replace=True, progress=False)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


def test_a_killed_build_leaves_no_release_and_the_next_one_succeeds(decoder_run, tmp_path):
    out = tmp_path / "nano"
    call = (
        "from codequarry.release.build import build; from pathlib import Path; "
        f"build(Path({str(decoder_run)!r}), Path({str(out)!r}))"
    )
    process = subprocess.Popen([sys.executable, "-c", call], stderr=subprocess.PIPE, encoding="utf-8")
    for line in process.stderr:
        if "golden vectors" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    assert [path.name for path in tmp_path.iterdir()] == [".nano.building"]
    build(decoder_run, out, progress=False)
    assert check_manifest(out) == []
    assert [path.name for path in tmp_path.iterdir()] == ["nano"]


def test_a_replacement_killed_at_the_swap_puts_the_older_release_back(decoder_run, release, monkeypatch):
    before = (release / "manifest.json").read_bytes()
    rename = Path.rename

    def killed(self, target):
        if self.name.endswith(".building"):
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        build(decoder_run, release, dtype="bf16", replace=True, progress=False)
    monkeypatch.undo()
    assert not release.exists()  # for this one moment there is none, but never half of one
    with pytest.raises(ValueError, match="exists"):
        build(decoder_run, release, progress=False)
    assert (release / "manifest.json").read_bytes() == before
    assert [path.name for path in release.parent.iterdir()] == [release.name]


def test_the_licence_is_found_in_an_installed_wheel_too(monkeypatch, tmp_path):
    beside = layout.licence_file()
    installed = [file for file in files("codequarry") if file.name == "LICENSE"]
    assert installed, "the distribution lists its licence"
    monkeypatch.setattr(layout.codequarry, "__file__", str(tmp_path / "__init__.py"))
    assert layout.licence_file().read_text() == beside.read_text()
