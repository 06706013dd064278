"""Weights that are stored in bfloat16 give, once in float32, the vectors of a model loaded so."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from codequarry.release import runners
from codequarry.release.build import build


@pytest.fixture
def runner(monkeypatch):
    """The program, found as it finds itself: with its folder on the path."""
    monkeypatch.syspath_prepend(str(Path(runners.__file__).parent))
    return importlib.import_module("with_transformers")


def test_the_float32_of_a_bfloat16_release_is_what_sentence_transformers_has(runner, decoder_run, tmp_path):
    release = build(decoder_run, tmp_path / "release", dtype="bf16", in_memory="bf16", progress=False)
    golden = json.loads((release / "golden_vectors.json").read_text(encoding="utf-8"))
    texts = [golden["prompts"][row["prompt_name"]] + row["text"] for row in golden["rows"]]
    expected = np.array([row["vector"] for row in golden["rows"]])
    found = {precision: embed(texts, "right") for precision, embed in runner.models(release)}
    assert list(found) == ["bfloat16", "float32"]
    assert np.abs(found["float32"] - expected).max() < 5e-6
    assert np.abs(found["bfloat16"] - expected).max() > 1e-4


def test_a_float32_release_is_read_once(runner, built):
    assert [precision for precision, _ in runner.models(built)] == ["float32"]
