"""An ONNX graph with its matrices in 8 bits."""

import logging
from pathlib import Path
from typing import Any


def write_int8(whole: Path, path: Path) -> None:
    """Write to `path` the graph `whole` with the weights of multiplications and the tables of tokens in int8.

    A multiplication has a scale and a zero point a column, and ONNX Runtime rounds its other side as it goes.
    A table has a scale a row. With one scale for the whole table, as ONNX Runtime rounds it, the small row of
    an end-of-sequence drowns among the large ones of words: the worst cosine of nano to its float32 vectors
    is then 0.74, not 0.999.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(whole)
    _round_tables(model)
    rows = path.with_name(f".{path.name}.rows")
    large = whole.stat().st_size < sum(part.stat().st_size for part in whole.parent.glob(f"{whole.name}*"))
    onnx.save(model, rows, save_as_external_data=large, location=f"{rows.name}.data")
    logging.disable(logging.WARNING)  # advice to simplify a graph that is simple
    try:
        quantize_dynamic(
            rows,
            path,
            op_types_to_quantize=["MatMul"],
            per_channel=True,
            # A release must be right on every processor. On x86 with neither VNNI nor AMX, ONNX Runtime adds
            # two products with signed weights in 16 bits, where they saturate; unsigned ones it widens first.
            # Worst cosine over all that `verify` runs, on an AMD EPYC with AVX2 only, and in brackets of the
            # same graph in exact integers: the tests' two-layer decoder 0.775 (0.980) signed, 0.972 (0.972)
            # unsigned; mini 0.985 (0.986) and 0.985 (0.985), in the mean 0.9931 (0.9941) and 0.9940 (0.9940).
            # Unsigned weights leave VNNI and AMX unused, though; benchmarks/LOG.md has more.
            weight_type=QuantType.QUInt8,
            use_external_data_format=large,
        )
    finally:
        logging.disable(logging.NOTSET)
    for part in rows.parent.glob(f"{rows.name}*"):
        part.unlink()


def _round_tables(model: Any) -> None:
    """table[ids] becomes float(rounded[ids]) · scales[ids], in place."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    tables = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
    nodes = []
    for node in graph.node:
        table = tables.get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or len(table.dims) != 2:
            nodes.append(node)
            continue
        values = numpy_helper.to_array(table)
        scales = np.maximum(np.abs(values).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
        name, (answer,) = table.name, node.output
        if f"{name}.rounded" not in {tensor.name for tensor in graph.initializer}:
            rounded = np.round(values / scales).astype(np.int8)
            graph.initializer.append(numpy_helper.from_array(rounded, f"{name}.rounded"))
            graph.initializer.append(numpy_helper.from_array(scales.astype(np.float32), f"{name}.scales"))
        ids = node.input[1]
        nodes += [
            helper.make_node("Gather", [f"{name}.rounded", ids], [f"{answer}.rounded"]),
            helper.make_node("Gather", [f"{name}.scales", ids], [f"{answer}.scales"]),
            helper.make_node("Cast", [f"{answer}.rounded"], [f"{answer}.float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{answer}.float", f"{answer}.scales"], [answer]),
        ]
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
