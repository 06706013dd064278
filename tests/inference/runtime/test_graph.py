"""ONNX Runtime and OpenVINO as runtimes: the vectors of the packed one, or a sentence."""

import copy
import hashlib
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codequarry.common.environment import has_fast_bf16
from codequarry.common.errors import MissingPackageError, UserError
from codequarry.common.files import read_json, write_json
from codequarry.inference.load import load
from codequarry.inference.runtime import graph, graph_file
from codequarry.inference.runtime.attached import PackedRuntime
from codequarry.inference.runtime.graph_file import read_graph
from codequarry.modules.backbone import MINI_FOLDER

pytest.importorskip("onnxscript")
TEXTS = [
    "x = 1",
    "def parse(text: str) -> date:\n    return date.fromisoformat(text)",
    "größe 漢字",
    "y " * 700,
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CODEQUARRY_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", params=["onnx", "openvino"])
def model(request: pytest.FixtureRequest, cache: Path) -> Any:
    pytest.importorskip(graph.PACKAGES[request.param])
    return load("mini", runtime=request.param)


def test_vectors_are_those_of_sentence_transformers(model: Any, mini: Any) -> None:
    expected = load("mini", runtime="stock").encode_document(TEXTS, task="qa")
    assert np.abs(model.encode_document(TEXTS, task="qa") - expected).max() < 1e-5
    assert model.runtime.reason is None
    for dims in (64, 384):
        found = model.encode_query(TEXTS[1], truncate_dim=dims)
        assert np.abs(found - mini.encode_query(TEXTS[1], truncate_dim=dims)).max() < 1e-5


def test_a_graph_is_made_once(model: Any, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (kept,) = (cache / "graphs").glob("*.onnx")
    monkeypatch.setattr("codequarry.inference.runtime.graph_file.write_graph", None)
    assert (
        hashlib.sha256(read_graph(MINI_FOLDER)).hexdigest() == hashlib.sha256(kept.read_bytes()).hexdigest()
    )


def test_under_autocast_openvino_computes_in_bfloat16_and_onnx_runtime_does_not(model: Any) -> None:
    exact = model.encode_document(TEXTS, task="qa")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = model.encode_document(TEXTS, task="qa")
    assert (found * exact).sum(axis=1).min() > 0.9995
    assert np.array_equal(found, exact) != (model.runtime.name == "openvino" and has_fast_bf16("cpu"))


def test_changed_weights_are_computed_by_sentence_transformers(model: Any) -> None:
    before = model.encode_query(["x"])
    weight = next(one for name, one in model.named_parameters() if name.endswith("value.weight"))
    with torch.no_grad():
        weight.mul_(2)
    try:
        changed = model.encode_query(["x"])
        assert np.abs(changed - before).max() > 1e-3
        assert model.runtime.reason == "it was changed after it was loaded"
    finally:
        with torch.no_grad():
            weight.div_(2)


def test_copies_run_packed(model: Any) -> None:
    assert isinstance(copy.deepcopy(model.runtime), PackedRuntime)
    assert isinstance(pickle.loads(pickle.dumps(model.runtime)), PackedRuntime)


def test_a_release_s_own_graph_is_used_only_as_its_manifest_lists_it(cache: Path, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    shutil.copytree(MINI_FOLDER, folder)
    (folder / "onnx").mkdir()
    own = folder / "onnx" / "model.onnx"
    own.write_bytes(b"a graph of someone else")
    assert read_graph(folder) != own.read_bytes()
    manifest = read_json(folder / "manifest.json")
    size = {"size": own.stat().st_size, "sha256": hashlib.sha256(own.read_bytes()).hexdigest()}
    write_json(folder / "manifest.json", manifest | {"files": manifest["files"] | {"onnx/model.onnx": size}})
    assert read_graph(folder) == own.read_bytes()


def test_weights_in_16_bits_count_as_the_float32_that_a_graph_holds(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph whose weights lie in a second file, as 0.5b's do, is not read: it was an internal error."""
    stored = (MINI_FOLDER / "model.safetensors").stat().st_size
    monkeypatch.setattr(graph_file, "LARGEST", int(1.5 * stored))
    with pytest.raises(UserError, match="more weights than a graph holds in one file"):
        read_graph(MINI_FOLDER)


def test_a_graph_of_other_vectors_is_refused(
    model: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def opened(*_: Any, **__: Any) -> graph.Run:
        return lambda inputs: np.full((len(inputs["input_ids"]), 384), 384**-0.5, np.float32)

    monkeypatch.setattr(graph, f"open_{model.runtime.name}", opened)
    with pytest.raises(UserError, match="does not give the vectors that it was saved with"):
        load("mini", runtime=model.runtime.name)


def test_a_missing_package_and_a_model_without_a_graph_are_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match="does not compute this model: its modules are Static"):
        load("pico", runtime="onnx")
    monkeypatch.setattr(graph, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"pip install 'codequarry\[openvino\]'"):
        load("mini", runtime="openvino")
