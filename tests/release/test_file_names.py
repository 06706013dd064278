"""A release has the files of its layout, its papers, and none that a library would pick up."""

from pathlib import Path

import pytest

import codequarry
from codequarry.release.file_names import PAPERS, check_file_names


def test_a_release_and_the_embedded_model_have_only_files_with_a_place(built):
    assert check_file_names(built) == []
    assert check_file_names(Path(codequarry.__file__).parent / "models" / "mini") == []


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_that_is_missing_or_empty_is_named(release, name):
    for spoil in (lambda path: path.write_text(""), lambda path: path.unlink()):
        spoil(release / name)
        assert check_file_names(release) == [f"{name} is missing or empty; every release has one."]


@pytest.mark.parametrize(
    "name",
    [
        "adapter_config.json",
        "added_tokens.json",
        "special_tokens_map.json",
        "pytorch_model.bin",
        "model.onnx",
        "onnx/model_fp32.onnx",
        "vocab.txt",
        "2_Dense/config.json",
        "2_Normalize/model.safetensors",
        "sentence_roberta_config.json",
        "model-Q8_0.gguf",
    ],
)
def test_a_file_that_a_library_would_pick_up_is_named_whatever_the_manifest_says(spoilt, name):
    assert f"{name} has no place in a release" in spoilt(name, b"{}")


@pytest.mark.parametrize(
    "name", ["NOTICE", "notes.md", "plot.svg", ".eval_results/a.yaml", "onnx/model.onnx.data"]
)
def test_what_no_library_loads_may_lie_there(release, name):
    (release / name).parent.mkdir(exist_ok=True)
    (release / name).write_text("words")
    assert check_file_names(release) == []
