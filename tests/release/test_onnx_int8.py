"""Rounded tables are looked up as before, each row to half a step of its own."""

import numpy as np
import pytest

from codequarry.release import onnx_export
from codequarry.release.onnx_int8 import write_int8

pytestmark = pytest.mark.skipif(
    not onnx_export.is_installed(), reason="ONNX is an extra: pip install 'codequarry[onnx]'"
)


@pytest.fixture
def table():
    """As of a tokenizer: a row a token, that of the end-of-sequence small, that of padding zero."""
    rows = np.random.default_rng(0).normal(size=(1_200, 16)).astype(np.float32)
    rows[0] *= 1e-4
    rows[1] = 0
    return rows


def test_a_small_row_is_rounded_by_itself(table, tmp_path):
    write_lookup(tmp_path / "model.onnx", table)
    write_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    ids = np.arange(len(table))[None]
    answer = ask(tmp_path / "int8.onnx", ids)[0]
    step = np.abs(table).max(axis=1, keepdims=True) / 127
    assert (np.abs(answer - table) <= 0.501 * step).all()
    assert not answer[1].any()


def test_the_file_is_a_quarter_and_nothing_else_is_left(table, tmp_path):
    write_lookup(tmp_path / "model.onnx", table)
    write_int8(tmp_path / "model.onnx", tmp_path / "int8.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.onnx", "model.onnx"]
    whole, rounded = ((tmp_path / name).stat().st_size for name in ("model.onnx", "int8.onnx"))
    assert rounded < whole / 4 + 4 * len(table) + 2_000  # and a scale a row


def test_a_table_that_is_looked_up_twice_is_held_once(table, tmp_path):
    write_lookup(tmp_path / "twice.onnx", table, times=2)
    write_int8(tmp_path / "twice.onnx", tmp_path / "int8.onnx")
    np.testing.assert_allclose(ask(tmp_path / "int8.onnx", np.array([[7]])), 2 * table[None, [7]], atol=0.03)
    assert (tmp_path / "int8.onnx").stat().st_size < 1.2 * table.size + 4 * len(table)


def write_lookup(path, table, times=1):
    """A graph that adds up `times` lookups of a table."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    looked = [f"row{number}" for number in range(times)]
    graph = helper.make_graph(
        [
            *(helper.make_node("Gather", ["table", "ids"], [name]) for name in looked),
            helper.make_node("Sum", looked, ["out"]),
        ],
        "lookup",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, [1, "tokens"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [1, "tokens", table.shape[1]])],
        [numpy_helper.from_array(table, "table")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.save(model, path)


def ask(path, ids):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"ids": ids.astype(np.int64)})[0]
