"""The whole model as one ONNX graph: token ids in, unit vector out, Dense layers included.

ONNX Runtime, OpenVINO, text-embeddings-inference on a CPU and transformers.js read it. Prompts and tokenizer
are not part of it.
"""

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.inference.runtime.graph_file import EXPORTERS, GRAPH, pipeline, unit, write_graph
from codequarry.inference.runtime.graph_file import FOLDER as FOLDER
from codequarry.modules.static_files import is_static
from codequarry.release.module_list import DENSE_WEIGHTS, dense_layers, pooling_modes, saved_modules
from codequarry.release.static import static_pipeline

OnnxPrecision = Literal["fp32", "int8"]

FILES: dict[OnnxPrecision, str] = {"fp32": GRAPH, "int8": "model_quantized.onnx"}
_NEEDED = (*EXPORTERS, "onnxruntime")


def export_onnx(folder: Path, precisions: Sequence[OnnxPrecision] = ("fp32",)) -> None:
    """Write `onnx/` into a release folder that has its weights and configuration.

    The graph takes `input_ids` and `attention_mask`, both (batch, tokens) of int64, padded on either side,
    and gives `token_embeddings` (batch, tokens, dim) and `sentence_embedding` (batch, dim), of length 1.
    `int8` has its matrices rounded to 8 bits, a quarter of the size.

    Raises UserError for an unknown precision, and when onnx, onnxscript or onnxruntime is missing.

    >>> export_onnx(Path("releases/mini"), ["fp32", "int8"])
    """
    refuse_missing(precisions)
    if not precisions:
        return
    out = folder / FOLDER
    out.mkdir(exist_ok=True)
    whole = out / FILES["fp32"]
    write_graph(_pipeline(folder), whole)
    if "int8" in precisions:
        write_int8(whole, out / FILES["int8"])
    if "fp32" not in precisions:
        for part in out.glob(f"{whole.name}*"):
            part.unlink()


def refuse_missing(precisions: Sequence[OnnxPrecision]) -> None:
    """Raise UserError when `precisions` cannot be exported here, before any time is spent."""
    if unknown := [name for name in precisions if name not in FILES]:
        raise UserError(f"ONNX precision {unknown[0]!r} is not one there is: pass 'fp32' or 'int8'.")
    if precisions and (missing := missing_packages()):
        raise UserError(f"ONNX export needs {', '.join(missing)}: pip install 'codequarry[onnx]'")


def missing_packages() -> list[str]:
    """The packages that the export needs and that are not installed."""
    return [name for name in _NEEDED if find_spec(name) is None]


def _pipeline(folder: Path) -> Any:
    from safetensors.torch import load_file
    from torch import nn

    if is_static(folder):
        return static_pipeline(folder)
    (mode,) = pooling_modes(read_json(folder / "1_Pooling" / "config.json"))
    head: list[nn.Module] = []
    layers = iter(dense_layers(folder))
    for name, _ in saved_modules(folder)[2:]:
        if name == "Normalize":
            head.append(unit())
            continue
        layer = next(layers)
        linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
        weights = load_file(folder / layer.path / DENSE_WEIGHTS)
        linear.load_state_dict({key.removeprefix("linear."): held for key, held in weights.items()})
        head += [linear, nn.Tanh()] if layer.activation_function.endswith("Tanh") else [linear]
    return pipeline(folder, mode, head)


def write_int8(whole: Path, path: Path) -> None:
    """Write to `path` the graph `whole` with the weights of multiplications and the tables of tokens in int8.

    A multiplication has a scale and a zero point per column, and ONNX Runtime rounds its activations at run
    time. A table has a scale per row. With one scale for the whole table, as ONNX Runtime rounds it, the
    small row of the end-of-sequence loses its bits to the large ones of words: the worst cosine of nano to
    its float32 vectors is then 0.74, not 0.999.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(whole)
    _round_tables(model)
    # ONNX Runtime makes a MatMul of each Gemm and transposes its weights, which then contradict their old
    # shape.
    gemm = {node.input[1] for node in model.graph.node if node.op_type == "Gemm"}
    shapes = [info for info in model.graph.value_info if info.name not in gemm]
    del model.graph.value_info[:]
    model.graph.value_info.extend(shapes)
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
