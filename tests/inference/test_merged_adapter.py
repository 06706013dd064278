"""A model that comes as an adapter is merged once, and then read without its backbone."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import codequarry
from codequarry.inference import load
from codequarry.inference.merged_adapter import FINGERPRINT, RECORD, merged_folder
from codequarry.inference.open import open_model
from codequarry.inference.runtime import folder as folder_module
from codequarry.inference.runtime.folder import FolderModel
from codequarry.modules import adapter_folder
from codequarry.modules.adapter_folder import (
    BASE,
    AdapterBase,
    file_of,
    load_adapter_folder,
    read_base,
    write_base,
)
from codequarry.modules.build import build_model
from codequarry.modules.saved_folder import ADAPTER_WEIGHTS
from codequarry.modules.tasks import CODE
from codequarry.release.golden import write_golden_vectors
from codequarry.training.lora import add_adapter, save_adapter

TEXTS = ["def area(width, height): return width * height", "parse a date"]


@pytest.fixture
def adapter(small_decoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The adapter of a small decoder, in the place of the one of 0.5b, with a cache of its own."""
    monkeypatch.setenv("CODEQUARRY_CACHE", str(tmp_path / "cache"))
    backbone = shutil.copytree(small_decoder, tmp_path / "backbone")
    model, folder = (
        build_model(str(backbone), max_length=64, dims=(64, 32), device="cpu"),
        tmp_path / "adapter",
    )
    torch.manual_seed(3)
    add_adapter(model, rank=4, alpha=8.0)
    for name, weights in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weights, std=0.3)
    save_adapter(model, folder, base=str(backbone))
    write_base(folder, AdapterBase(str(backbone), None, file_of(model), "lasttoken", 64, (64, 32)))
    write_golden_vectors(folder, load_adapter_folder(folder, device="cpu"), (64, 32), CODE)
    monkeypatch.setitem(load.ADAPTERS, "0.5b", folder)
    return folder


def test_the_merged_model_gives_the_vectors_of_backbone_and_adapter(adapter: Path) -> None:
    expected = load_adapter_folder(adapter, device="cpu").encode_document(TEXTS, task="qa")
    for _ in range(2):  # merged now, then read from the cache
        found = codequarry.load("0.5b", device="cpu", runtime="stock").encode_document(TEXTS, task="qa")
        np.testing.assert_array_equal(found, expected)
    opened = open_model("0.5b")
    assert isinstance(opened, FolderModel)
    prompt = opened.prompt_family.prefix("qa", "document")
    np.testing.assert_allclose(opened.encode(TEXTS, prompt=prompt), expected, atol=2e-6)
    assert opened.fingerprint == codequarry.load("0.5b", device="cpu").fingerprint


def test_the_second_load_needs_no_backbone_and_merges_nothing(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codequarry.load("0.5b", device="cpu")
    shutil.rmtree(read_base(adapter).backbone)
    monkeypatch.setattr(adapter_folder, "load_adapter_folder", None)
    model = codequarry.load("0.5b", dims=32, device="cpu")
    assert model.encode_query(TEXTS, task="qa").shape == (2, 32)


def test_the_fingerprint_is_computed_once_and_again_after_a_change(
    adapter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, computed = codequarry.load("0.5b", device="cpu").fingerprint, []
    counted = folder_module.digest
    monkeypatch.setattr(folder_module, "digest", lambda *parts: computed.append(1) or counted(*parts))
    for _ in range(3):
        assert open_model("0.5b").fingerprint == expected
    assert len(computed) == 1
    folder = merged_folder("0.5b", adapter)
    os.utime(folder / "model.safetensors", (1, 1))
    assert open_model("0.5b").fingerprint == expected
    assert len(computed) == 2
    for damaged in ("[1]", "{", json.dumps({"files": {}, "fingerprint": 7})):
        (folder / FINGERPRINT).write_text(damaged)
        assert open_model("0.5b").fingerprint == expected
    assert len(computed) == 5


@pytest.mark.parametrize("damage", ["cut", "lost", "no record", "another adapter's", "no JSON object"])
def test_a_merged_folder_that_is_not_whole_is_made_again(adapter: Path, damage: str) -> None:
    folder = merged_folder("0.5b", adapter)
    whole = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    weights, record = folder / "model.safetensors", folder / RECORD
    if damage == "cut":
        weights.write_bytes(weights.read_bytes()[:-8])
    elif damage == "lost":
        weights.unlink()
    elif damage == "no record":
        record.unlink()
    elif damage == "no JSON object":
        record.write_text("[1]")
    else:
        record.write_text(json.dumps(json.loads(record.read_text()) | {"key": "0" * 64}))
    assert merged_folder("0.5b", adapter) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == whole


def test_another_adapter_has_a_folder_of_its_own(adapter: Path) -> None:
    first = merged_folder("0.5b", adapter)
    weights = adapter / ADAPTER_WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x3c")
    (adapter / "golden_vectors.json").unlink()  # which the other weights would not give
    assert merged_folder("0.5b", adapter) != first
    assert first.is_dir()


def test_vectors_that_are_not_the_golden_ones_are_refused_before_anything_is_kept(
    adapter: Path, tmp_path: Path
) -> None:
    golden = adapter / "golden_vectors.json"
    record = json.loads(golden.read_text())
    for row in record["rows"]:
        row["vector"] = row["vector"][::-1]
    golden.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="does not give the vectors that it was saved with"):
        codequarry.load("0.5b", device="cpu")
    assert not [*(tmp_path / "cache" / "merged").glob("0.5b-*")]


def test_without_the_backbone_the_sentence_says_what_is_missing(adapter: Path) -> None:
    base = json.loads((adapter / BASE).read_text())
    (adapter / BASE).write_text(json.dumps(base | {"backbone": "no/such-backbone"}))
    with pytest.raises(ValueError, match=r"no/such-backbone"):
        codequarry.load("0.5b", device="cpu")
