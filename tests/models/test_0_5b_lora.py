"""The adapter that comes with the package: whole, small, tied to one file, trained on permissive text alone."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import codequarry
from codequarry.data.catalog.schema import LICENCES
from codequarry.model_card.render import render_adapter
from codequarry.modules.adapter_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS, read_base
from codequarry.modules.backbone import ADAPTERS, GGUF_FOLDER, gguf_backbone
from codequarry.recipes.read import read_recipe, recipe_path
from codequarry.release.card import card_of
from codequarry.release.trained_run import data_of_all_stages, public_record, stages

FOLDER = ADAPTERS["0.5b"]


def test_its_weights_take_at_most_20_megabytes_and_fit_the_recipe() -> None:
    assert (FOLDER / ADAPTER_WEIGHTS).stat().st_size <= 20e6
    recipe = read_recipe(recipe_path("0.5b-lora"))
    config = json.loads((FOLDER / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    assert recipe.lora is not None
    assert (config["r"], config["lora_alpha"]) == (recipe.lora.rank, recipe.lora.alpha)
    weights = load_file(FOLDER / ADAPTER_WEIGHTS)
    assert {one.dtype for one in weights.values()} == {torch.bfloat16}
    assert all(torch.isfinite(one).all() for one in weights.values())
    layers = {name.partition(".layers.")[2].partition(".")[0] for name in weights}
    assert layers == {str(number) for number in range(24)}
    assert all(one.abs().sum() > 0 for name, one in weights.items() if ".lora_B." in name)


def test_it_belongs_to_the_published_file_by_sha256() -> None:
    base = read_base(FOLDER)
    row = gguf_backbone(base.backbone)
    assert row is not None
    assert base.sha256 == row.sha256
    assert base.dims == (896, 512, 256, 128, 64)


def test_it_was_trained_on_permissive_text_alone_for_at_least_150_steps() -> None:
    record = json.loads((FOLDER / "training.json").read_text(encoding="utf-8"))
    assert record == public_record(record)
    assert sum(one["steps"] for one in stages(record)) >= 150
    assert {one["recipe"]["licences"] for one in stages(record)} == {"permissive"}
    for row in data_of_all_stages(record):
        licence = LICENCES[row["licence"]]
        assert licence.commercial, row
        assert not licence.share_alike, row


def test_its_golden_vectors_are_unit_vectors_of_every_prompt() -> None:
    golden = json.loads((FOLDER / "golden_vectors.json").read_text(encoding="utf-8"))
    vectors = np.array([row["vector"] for row in golden["rows"]])
    assert vectors.shape[1] == golden["dims"][0] == 896
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert {row["prompt_name"] for row in golden["rows"]} == set(golden["prompts"])


@pytest.mark.skipif(GGUF_FOLDER not in os.environ, reason=f"the backbone's file is in {GGUF_FOLDER}")
def test_with_its_backbone_it_gives_its_golden_vectors() -> None:
    model = codequarry.load("0.5b", device="cpu")
    golden = json.loads((FOLDER / "golden_vectors.json").read_text(encoding="utf-8"))
    for row in golden["rows"][:4]:
        vector = model.encode([row["text"]], prompt_name=row["prompt_name"])[0]
        assert float(vector @ np.array(row["vector"])) > 0.9999
    query = model.encode_query(["parse an ISO 8601 date"], task="nl2code")
    documents = model.encode_document(
        ["def read(s): return datetime.fromisoformat(s)", "def total(xs): return sum(xs)"], task="nl2code"
    )
    assert (query @ documents.T).argmax() == 0
