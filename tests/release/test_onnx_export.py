"""The exported graph is the model: ONNX Runtime and OpenVINO meet the golden vectors through it."""

import shutil
from pathlib import Path

import pytest

from codequarry.release import onnx_export
from codequarry.release.build import build
from codequarry.release.onnx_export import export_onnx
from codequarry.release.verify import verify

needs_onnx = pytest.mark.skipif(
    not onnx_export.is_installed(), reason="ONNX is an extra: pip install 'codequarry[onnx]'"
)


@needs_onnx
def test_a_release_with_onnx_is_verified_in_every_runtime(with_onnx):
    verification = verify(with_onnx, progress=False)
    assert verification.ok, verification.table()
    found = {(row.kind, row.precision) for row in verification.runtimes}
    assert {("onnxruntime", "float32"), ("onnxruntime", "int8")} <= found
    sizes = [(with_onnx / "onnx" / name).stat().st_size for name in onnx_export.FILES.values()]
    assert sizes[1] < 0.6 * sizes[0]  # a quarter where the graph itself is small beside the weights


@needs_onnx
def test_a_graph_of_other_weights_is_caught(built, encoder_run, tmp_path, request):
    """Fields and manifest are right; only the vectors tell."""
    from codequarry.release.manifest import write_manifest

    release = Path(shutil.copytree(built, tmp_path / "release"))
    export_onnx(release)
    graph = release / "onnx" / "model.onnx"
    weights = bytearray(graph.read_bytes())
    middle = len(weights) // 2 // 4 * 4
    weights[middle : middle + 4000] = bytes(4000)
    graph.write_bytes(weights)
    write_manifest(release)
    verification = verify(release, progress=False)
    assert not verification.ok
    assert all(problem.startswith(("onnxruntime", "openvino")) for problem in verification.problems)


def test_an_unknown_precision_is_refused_before_anything_is_written(decoder_run, tmp_path):
    with pytest.raises(ValueError, match="ONNX precision 'fp16' is not one there is: pass 'fp32' or 'int8'"):
        build(decoder_run, tmp_path / "release", onnx=["fp16"], progress=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_names_its_installation(monkeypatch):
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"needs onnx, onnxscript, onnxruntime: pip install 'codequarry\[onnx\]'"
    ):
        onnx_export.refuse_missing(["fp32"])
    onnx_export.refuse_missing([])
