"""Layers and models in 8-bit integers: exact where integers are, near float32 as a whole."""

import copy
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional
from transformers import BertConfig, BertModel, Qwen2Config, Qwen2Model

from codequarry.common.environment import has_int8_products
from codequarry.common.errors import UserError
from codequarry.common.files import read_json, write_json
from codequarry.inference import model_checks
from codequarry.inference.encoder import Encoder, arithmetic_of
from codequarry.inference.load import load
from codequarry.inference.open import open_model
from codequarry.inference.runtime.engine import Engine, Plan
from codequarry.inference.runtime.folder import FolderModel
from codequarry.inference.runtime.int8 import Calibration, Int8Linear, Scale, scale_of
from codequarry.inference.runtime.linear import Affine
from codequarry.inference.vector_cache import StoredVectors
from codequarry.modules.backbone import MINI_FOLDER
from codequarry.modules.golden_vectors import GOLDEN

computed = pytest.mark.skipif(not has_int8_products(), reason="the processor has no VNNI or AMX")

SIZES: dict[str, Any] = {
    "vocab_size": 100, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3,
    "num_attention_heads": 4, "max_position_embeddings": 128,
}  # fmt: skip
TEXTS = [
    "def parse(text: str) -> date:\n    return date.fromisoformat(text)",
    "how do I read a file line by line",
    "größe 漢字",
    "for (int i = 0; i < n; i++) { sum += values[i]; }",
    "y " * 700,
]


@pytest.fixture(scope="module")
def model() -> Any:
    return load("mini", runtime="int8")


@pytest.mark.parametrize(("low", "high"), [(-1.0, 254.0), (-3.0, 3.0), (0.0, 5.0), (2.0, 5.0), (-4.0, -1.0)])
def test_a_scale_holds_its_range_and_zero(low: float, high: float) -> None:
    scale = scale_of(low, high)
    for number in np.linspace(min(low, 0), max(high, 0), 101):
        whole = np.clip(round(number / scale.step) + scale.zero, 0, 255)
        assert abs(scale.step * (whole - scale.zero) - number) <= scale.step * 1.001
    assert 0 <= scale.zero <= 255


def test_a_range_without_width_has_a_scale() -> None:
    assert scale_of(0.0, 0.0).step > 0


def layer(seed: int, **more: Any) -> tuple[Affine, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    weights = [torch.randn(rows, 48, generator=draw) for rows in (16, 32)]
    biases = [torch.randn(rows, generator=draw) for rows in (16, 32)]
    return Affine("one", weights, biases, **more), torch.randn(37, 48, generator=draw)


def in_whole_numbers(affine: Affine, x: torch.Tensor, steps: torch.Tensor, zero: int) -> torch.Tensor:
    """`x = steps · (q - zero)` times rounded weights, in 64-bit integers."""
    weight, bias = torch.cat(list(affine.weights)), torch.cat(list(affine.biases or []))
    scales = weight.abs().amax(dim=1) / 127
    whole = torch.round(weight / scales[:, None]).long()
    q = (torch.round(x / steps) + zero).clamp(0, 255).long()
    sums = (q - zero) @ whole.T
    found = sums * steps * scales + bias
    return functional.gelu(found) if affine.activation == "gelu" else found


@computed
@pytest.mark.parametrize("activation", ["none", "gelu"])
def test_a_product_is_that_of_the_rounded_numbers(activation: Any) -> None:
    affine, x = layer(0, activation=activation)
    scale = scale_of(float(x.min()), float(x.max()))
    expected = in_whole_numbers(affine, x, torch.tensor(scale.step), scale.zero)
    assert (Int8Linear(affine, scale)(x) - expected).abs().max() < 1e-4


@computed
def test_rows_of_very_different_size_have_scales_of_their_own() -> None:
    affine, x = layer(1, uneven=True)
    x = x * torch.logspace(-3, 3, len(x))[:, None]
    steps = x.abs().amax(dim=1, keepdim=True) / 127
    expected = in_whole_numbers(affine, x, steps, 128)
    found = Int8Linear(affine)(x)
    assert ((found - expected).abs() <= 1e-4 * expected.abs().amax(dim=1, keepdim=True)).all()
    assert torch.isfinite(Int8Linear(affine)(torch.zeros(2, 48))).all(), "a row of zeros"


@computed
def test_a_channel_far_larger_than_the_others_does_not_cost_them_their_steps() -> None:
    affine, x = layer(4)
    x[:, 7] *= 200
    made = Calibration()
    expected = made.observed(affine)(x)
    divided = made.in_int8(affine)(x)
    plain = Int8Linear(affine, scale_of(float(x.min()), float(x.max())))(x)
    assert (divided - expected).norm() < (plain - expected).norm() / 2


@computed
def test_numbers_beyond_the_scale_are_cut_to_its_ends() -> None:
    affine, x = layer(5)
    narrow = Int8Linear(affine, Scale(0.01, 128))
    assert torch.equal(narrow(x * 1e6), narrow(x.sign() * 1e3))


@computed
def test_vectors_are_near_those_of_float32(model: Any, mini: Any) -> None:
    for task in ("nl2code", "qa"):
        found, expected = (one.encode_document(TEXTS, task=task) for one in (model, mini))
        assert (found * expected).sum(axis=1).min() > 0.99
    assert model.runtime.reason is None
    assert model.runtime.name == "int8"


@computed
@pytest.mark.parametrize(
    ("model", "pooling"),
    [
        (lambda: BertModel(BertConfig(**SIZES)), "cls"),
        (lambda: Qwen2Model(Qwen2Config(**SIZES, num_key_value_heads=2)), "lasttoken"),
    ],
    ids=["cls", "lasttoken"],
)
def test_other_architectures_and_prefixes_are_computed_too(model: Any, pooling: Any) -> None:
    torch.manual_seed(0)
    model = model().eval()
    for weight in model.parameters():
        if weight.dim() > 1:
            weight.data.normal_(0, 0.1)
    plan = Plan(model.config.to_dict(), pooling, True)
    weights = {name: weight.detach() for name, weight in model.named_parameters()}
    draw = torch.Generator().manual_seed(1)
    front = (7, 8, 9)
    texts = [[*front, *torch.randint(3, 99, (length,), generator=draw).tolist()] for length in (1, 5, 30, 90)]
    expected = Engine(plan, weights.__getitem__, torch.float32).vectors(texts)
    engine = Engine(plan, weights.__getitem__, torch.float32, calibration=texts[:2])
    for prefixes in ((), (front,)):
        assert (engine.vectors(texts, prefixes=prefixes) * expected).sum(dim=1).min() > 0.99


@computed
def test_a_vector_has_the_same_bits_in_any_company() -> None:
    model = load("mini", runtime="int8", batch_invariant=True)
    together = model.encode_document(TEXTS, task="qa")
    for text, vector in zip(TEXTS, together, strict=True):
        assert np.array_equal(model.encode_document(text, task="qa"), vector)


@computed
def test_a_folder_that_is_opened_gives_the_vectors_of_load(model: Any) -> None:
    opened = open_model("mini", runtime="int8")
    assert isinstance(opened, FolderModel)
    prompt = model.prompts["nl2code_document"]
    assert np.abs(opened.encode(TEXTS, prompt=prompt) - model.encode(TEXTS, prompt=prompt)).max() < 1e-6
    assert opened.fingerprint == model.fingerprint


@computed
def test_vectors_in_integers_are_kept_apart_from_others(model: Any, mini: Any, tmp_path: Path) -> None:
    assert Encoder(model).space("qa").precision == "int8"
    assert Encoder(open_model("mini", runtime="int8")).space("qa").precision == "int8"
    assert Encoder(mini).space("qa").precision != "int8"
    assert arithmetic_of(model, bf16=False) == "int8"
    for one in (model, mini):
        StoredVectors(one, tmp_path, label="mini", fingerprint="same", progress=False).embed(["x = 1"], "")
    assert len(list(tmp_path.iterdir())) == 2


@computed
def test_autocast_changes_nothing(model: Any) -> None:
    expected = model.encode_document(TEXTS, task="qa")
    fresh = copy.deepcopy(model)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for one in (model, fresh):
            assert np.array_equal(one.encode_document(TEXTS, task="qa"), expected)


@computed
def test_golden_vectors_of_another_size_and_truncated_models(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MINI_FOLDER, folder)
    (folder / "manifest.json").unlink()
    settings = read_json(folder / "config_sentence_transformers.json")
    write_json(folder / "config_sentence_transformers.json", settings | {"truncate_dim": 128})
    golden = read_json(folder / GOLDEN)
    golden.pop("sha256", None)
    write_json(folder / GOLDEN, golden)
    assert load(str(folder), runtime="int8").encode("x = 1", prompt="").shape == (128,)
    golden["rows"][0]["vector"].pop()
    write_json(folder / GOLDEN, golden)
    with pytest.raises(UserError, match="vectors of another size"):
        load(str(folder), runtime="int8")


@computed
def test_copies_and_changed_weights_compute_in_integers_too(model: Any) -> None:
    expected = model.encode(TEXTS[:2], prompt="")
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(twin.encode(TEXTS[:2], prompt=""), expected)
        assert twin.runtime.int8
    with torch.no_grad():
        twin.transformers_model.encoder.layer[0].output.dense.weight.mul_(0.5)
    changed = twin.encode(TEXTS[:2], prompt="")
    twin.runtime = None
    assert (changed * twin.encode(TEXTS[:2], prompt="")).sum(axis=1).min() > 0.99
    assert (changed * expected).sum(axis=1).max() < 0.9999


@computed
@pytest.mark.parametrize("reader", [load, open_model])
def test_a_model_that_integers_do_not_suit_is_refused(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_checks, "_INT8_COSINE", 0.99999)
    with pytest.raises(UserError, match=r"does not bear 8-bit integers: the cosine .* is 0\.99"):
        reader("mini", runtime="int8")


@computed
def test_a_model_without_golden_vectors_or_a_transformer_is_refused(tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(MINI_FOLDER, bare)
    for name in (GOLDEN, "manifest.json"):
        (bare / name).unlink()
    with pytest.raises(UserError, match=f"has no {GOLDEN}"):
        load(str(bare), runtime="int8")
    with pytest.raises(UserError, match="does not compute this model: it has no transformer"):
        load("pico", runtime="int8")


@computed
@pytest.mark.parametrize("reader", [load, open_model])
def test_a_torch_without_the_operations_is_refused(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Int8Linear, "_product", lambda *_: torch.ops.onednn.no_such_operation)
    with pytest.raises(UserError, match=r"does not compute this model: torch \S+ has no products"):
        reader("mini", runtime="int8")


@pytest.mark.parametrize("reader", [load, open_model])
def test_another_processor_is_refused(reader: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_checks, "has_int8_products", lambda: False)
    with pytest.raises(UserError, match="needs a processor with instructions for it"):
        reader("mini", runtime="int8")
