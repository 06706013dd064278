"""A model with Dense layers after its pooling: trained further, released, verified, read elsewhere."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from transformers import AutoTokenizer, BertConfig, BertModel

import codequarry
from codequarry.data.pair import Pair
from codequarry.data.pair_files import write_pairs
from codequarry.release import onnx as onnx_export
from codequarry.release.build import build
from codequarry.release.config_checks import check_fields
from codequarry.release.gguf import refuse_unwritable
from codequarry.release.manifest import write_manifest
from codequarry.release.trained_run import RunFolder
from codequarry.release.verify import verify

ROOT = Path(codequarry.__file__).parent
TEXTS = ["def f(x):\n    return x", "how to sort a list", "word " * 200]
SETTINGS = [
    "pooling=mean", "matryoshka_dims=[32, 16]", "max_length=64", "batch_size=8", "max_steps=3",
    "save_steps=2",
    "mini_batch_tokens=128", "precision=fp32", "learning_rate=1e-2",
]  # fmt: skip


@pytest.fixture(scope="module")
def stage_one(minilm, tmp_path_factory):
    """[Transformer, Pooling(mean), Dense, Dense, Normalize], saved by stock sentence-transformers."""
    backbone, folder = tmp_path_factory.mktemp("bert"), tmp_path_factory.mktemp("stage") / "one"
    torch.manual_seed(0)
    config = BertConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=64,
    )  # fmt: skip
    BertModel(config).save_pretrained(backbone)
    AutoTokenizer.from_pretrained(minilm, model_max_length=64).save_pretrained(backbone)
    dense = [
        Dense(24, 48, bias=False, activation_function=torch.nn.Identity()),
        Dense(48, 32, bias=True, activation_function=torch.nn.Tanh()),
    ]
    modules = [Transformer(str(backbone), max_seq_length=64), Pooling(24, "mean"), *dense, Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


@pytest.fixture(scope="module")
def trained(stage_one, tmp_path_factory):
    """The stage-1 folder, trained further for three steps."""
    pairs, out = tmp_path_factory.mktemp("pairs"), tmp_path_factory.mktemp("runs") / "projected"
    rows = [
        Pair("nl2code", f"how to add {n}", f"def add_{n}(x):\n    return x + {n}", "a", "python")
        for n in range(24)
    ]
    write_pairs(pairs / "a.jsonl.gz", rows)
    settings = [f"data={pairs}", f"backbone.name={stage_one}", *SETTINGS]
    words = [sys.executable, ROOT / "train.py", ROOT / "recipes/own.toml", "--out", out]
    result = subprocess.run(
        [*words, *(part for setting in settings for part in ("--set", setting))],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "padded" not in result.stdout
    return out


@pytest.fixture(scope="module")
def projected(trained, tmp_path_factory):
    """Its release, in ONNX too where that is installed."""
    onnx = [] if onnx_export.missing_packages() else ["fp32", "int8"]
    return build(trained, tmp_path_factory.mktemp("releases") / "projected", onnx=onnx, progress=False)


def test_the_dense_layers_are_trained_and_saved(stage_one, trained):
    for path in ("2_Dense", "3_Dense"):
        before, after = (load_file(folder / path / "model.safetensors") for folder in (stage_one, trained))
        assert before.keys() == after.keys()
        assert all((before[name] - after[name]).abs().max() > 1e-3 for name in before)
    newest = trained / "checkpoints/checkpoint-2"
    assert (newest / "3_Dense/model.safetensors").is_file()


def test_the_release_has_the_vectors_of_the_run_in_stock_sentence_transformers(trained, projected):
    run = codequarry.load(str(trained), device="cpu")
    stock = SentenceTransformer(str(projected), device="cpu")
    expected = run.encode_query(TEXTS, task="nl2code")
    assert expected.shape == (3, 32)
    np.testing.assert_allclose(stock.encode(TEXTS, prompt_name="nl2code_query"), expected, atol=1e-6)
    short = stock.encode(TEXTS, prompt_name="nl2code_query", truncate_dim=16, normalize_embeddings=True)
    np.testing.assert_allclose(
        short, codequarry.load(str(trained), dims=16, device="cpu").encode_query(TEXTS), atol=1e-6
    )
    types = [row["type"] for row in json.loads((projected / "modules.json").read_text())]
    names = ("Transformer", "Pooling", "Dense", "Dense", "Normalize")
    assert types == [f"sentence_transformers.models.{name}" for name in names]
    # The fields that sentence-transformers before 5.4 takes; it stops at any other.
    assert json.loads((projected / "2_Dense/config.json").read_text()).keys() == {
        "in_features", "out_features", "bias", "activation_function",
    }  # fmt: skip


def test_the_release_is_verified_in_every_runtime(projected):
    verification = verify(projected, progress=False)
    assert verification.ok, verification.table()
    assert {row.kind for row in verification.runtimes} >= {"sentence-transformers", "transformers"}


def test_a_release_in_bfloat16_rounds_its_dense_layers_too(trained, tmp_path):
    out = build(trained, tmp_path / "half", dtype="bf16", progress=False)
    held = load_file(out / "3_Dense/model.safetensors")
    assert {weights.dtype for weights in held.values()} == {torch.bfloat16}
    verification = verify(out, progress=False)
    assert verification.ok, verification.table()


@pytest.mark.parametrize(
    ("file", "changes", "named"),
    [
        ("3_Dense/config.json", {"in_features": 24}, "in_features 24, and is given vectors of 48"),
        ("3_Dense/config.json", {"activation_function": "torch.nn.ReLU"}, "text-embeddings-inference knows"),
        ("2_Dense/config.json", {"module_input_name": "x"}, "differ in whether there is module_input_name"),
        ("2_Dense/config.json", {"bias": "no"}, 'bias "no"'),
        ("config.json", {"matryoshka_dimensions": [24, 16]}, "they must fall, without repeats, from 32"),
        (
            "training.json",
            {"recipe": {"projections": [32]}},
            "has projections [32], the release Dense layers",
        ),
    ],
)
def test_a_field_of_a_dense_layer_that_is_not_of_the_layout_is_named(
    projected, tmp_path, file, changes, named
):
    release = Path(shutil.copytree(projected, tmp_path / "release"))
    assert check_fields(release) == []
    fields = json.loads((release / file).read_text())
    (release / file).write_text(json.dumps(fields | changes))
    assert named in "\n".join(check_fields(release))


def test_dense_weights_of_another_shape_or_with_nan_are_named(projected, tmp_path):
    release = Path(shutil.copytree(projected, tmp_path / "release"))
    weights = release / "2_Dense/model.safetensors"
    for spoilt, named in [
        ({"linear.weight": torch.zeros(48, 23)}, "2_Dense: The weights hold linear.weight of shape [48, 23]"),
        ({"linear.weight": torch.full((48, 24), float("nan"))}, "2_Dense: The weights hold NaN"),
    ]:
        save_file(spoilt, weights, metadata={"format": "pt"})
        write_manifest(release)
        assert named in "\n".join(verify(release, progress=False).problems)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"activation_function": "torch.nn.modules.activation.ReLU"}, "servers know .*Identity and .*Tanh"),
        ({"use_residual": True}, "use_residual True, which older versions"),
        ({"module_output_name": "other"}, "module_output_name 'other'"),
    ],
)
def test_a_dense_layer_that_older_readers_do_not_know_is_refused(trained, tmp_path, changes, message):
    run = Path(shutil.copytree(trained, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))
    fields = json.loads((run / "2_Dense/config.json").read_text())
    (run / "2_Dense/config.json").write_text(json.dumps(fields | changes))
    with pytest.raises(ValueError, match=message):
        RunFolder.read(run)


def test_gguf_has_no_place_for_dense_layers_nor_for_attention_to_both_sides(run):
    refuse_unwritable(run)
    rows = json.loads((run / "modules.json").read_text())
    dense = {"idx": 2, "name": "2", "path": "2_Dense", "type": "sentence_transformers.models.Dense"}
    (run / "modules.json").write_text(json.dumps([*rows[:2], dense, rows[2]]))
    with pytest.raises(
        ValueError, match="Dense layers after the pooling, for which a GGUF file has no place"
    ):
        refuse_unwritable(run)
    config = json.loads((run / "config.json").read_text())
    (run / "config.json").write_text(json.dumps(config | {"is_causal": False}))
    with pytest.raises(ValueError, match="attends both ways"):
        refuse_unwritable(run)
