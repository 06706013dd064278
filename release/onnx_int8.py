"""An ONNX graph in int8: the weights of its multiplications by column, its tables of tokens by row.

The numbers of the weights are those of ONNX Runtime's `quantize_dynamic`, which holds the whole graph several
times and rounds column by column in Python. Here one weight is in memory at a time.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_BLOCK = 32  # weights with one scale, where activations are not rounded
_INLINE = 1024  # bytes of a tensor that stays in the graph's own file


def write_int8(whole: Path, path: Path, *, weights_only: bool = False) -> None:
    """Write to `path` the graph `whole` with the weights of multiplications and the tables of tokens in int8.

    A multiplication has a scale and a zero point per column, and ONNX Runtime rounds its activations at run
    time. A table has a scale per row. With one scale for the whole table, as ONNX Runtime rounds it, the
    small row of the end-of-sequence loses its bits to the large ones of words: the worst cosine of nano to
    its float32 vectors is then 0.74, not 0.999.

    Arguments: `weights_only`, whether activations stay in float32. In large language models a few of them
        are far larger than the others, which one scale for a whole tensor rounds away: 0.5b's worst cosine is
        0.80 then (benchmarks/LOG.md). Weights then have a scale per 32 of a column, and the operator is one
        of ONNX Runtime's own (`com.microsoft.MatMulNBits`).

    Where the weights of `whole` are in files of their own, those of `path` are in `path` with `.data`.
    """
    import onnx

    model = onnx.load(whole, load_external_data=False)
    large = any(tensor.external_data for tensor in model.graph.initializer)
    data = path.with_name(f"{path.name}.data")
    data.unlink(missing_ok=True)
    graph = _Int8Graph(model.graph, whole.parent, data if large else None, weights_only)
    graph.convert()
    if weights_only:
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)


class _Int8Graph:
    """A graph while it is converted, in place. `data`: the file for large tensors; None: they stay inline."""

    def __init__(self, graph: Any, folder: Path, data: Path | None, weights_only: bool) -> None:
        self._graph, self._folder, self._data, self._weights_only = graph, folder, data, weights_only
        self._floats = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == 1}  # FLOAT
        self._nodes: list[Any] = []
        self._made: dict[str, Any] = {}  # new tensors by name
        self._quantized: dict[str, list[str]] = {}  # of activations: names of numbers, scale and zero point

    def convert(self) -> None:
        """Replace nodes and tensors."""
        for node in self._graph.node:
            table = self._floats.get(node.input[0]) if node.op_type == "Gather" else None
            if table is not None and len(table.dims) == 2:
                self._gather(node)
            elif node.op_type == "MatMul" and self._is_matrix(node.input[1]):
                self._multiply(node.input[0], node.input[1], node.output[0], transposed=False)
            elif node.op_type == "Gemm" and self._is_linear(node):
                self._linear(node)
            else:
                self._nodes.append(node)
        used = {name for node in self._nodes for name in node.input}
        kept = [tensor for tensor in self._graph.initializer if tensor.name in used]
        tensors = [self._kept(tensor) for tensor in kept] + list(self._made.values())
        gone = {tensor.name for tensor in self._graph.initializer} - used
        shapes = [info for info in self._graph.value_info if info.name not in gone]
        for field, values in (("node", self._nodes), ("initializer", tensors), ("value_info", shapes)):
            values = [_copy(value) for value in values]  # before the old ones go
            self._graph.ClearField(field)
            getattr(self._graph, field).extend(values)

    def _is_matrix(self, name: str) -> bool:
        return name in self._floats and len(self._floats[name].dims) == 2

    def _is_linear(self, node: Any) -> bool:
        from onnx import helper

        settings = {one.name: helper.get_attribute_value(one) for one in node.attribute}
        plain = settings.get("alpha", 1.0) == settings.get("beta", 1.0) == 1.0 and not settings.get("transA")
        return plain and self._is_matrix(node.input[1])

    def _linear(self, node: Any) -> None:
        """x · B + c, or x · Bᵀ + c."""
        from onnx import helper

        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        (answer,) = node.output
        product = f"{answer}_MatMul" if len(node.input) > 2 else answer
        self._multiply(node.input[0], node.input[1], product, transposed=transposed)
        if len(node.input) > 2:
            self._nodes.append(helper.make_node("Add", [product, node.input[2]], [answer]))

    def _multiply(self, inputs: str, weights: str, answer: str, *, transposed: bool) -> None:
        """MatMulInteger of rounded activations and weights, times both scales, as ONNX Runtime fuses it."""
        from onnx import TensorProto, helper

        if self._weights_only:
            self._multiply_in_float(inputs, weights, answer, transposed=transposed)
            return
        if inputs not in self._quantized:
            names = [f"{inputs}_{part}" for part in ("quantized", "scale", "zero_point")]
            self._nodes.append(helper.make_node("DynamicQuantizeLinear", [inputs], names))
            self._quantized[inputs] = names
        numbers, scale, zero = self._quantized[inputs]
        suffix = "_T" if transposed else ""
        parts = [f"{weights}{suffix}_{part}" for part in ("quantized", "scale", "zero_point")]
        if parts[0] not in self._made:
            values = self._values(weights)
            for name, array in zip(parts, quantized_columns(values.T if transposed else values), strict=True):
                self._made[name] = self._stored(name, array)
        product, as_float, scales = (f"{answer}_{part}" for part in ("integer", "float", "scales"))
        self._nodes += [
            helper.make_node("MatMulInteger", [numbers, parts[0], zero, parts[2]], [product]),
            helper.make_node("Cast", [product], [as_float], to=TensorProto.FLOAT),
            helper.make_node("Mul", [scale, parts[1]], [scales]),
            helper.make_node("Mul", [as_float, scales], [answer]),
        ]

    def _multiply_in_float(self, inputs: str, weights: str, answer: str, *, transposed: bool) -> None:
        """MatMulNBits, which turns the weights back into float32 as it multiplies."""
        from onnx import helper

        outputs, size = self._floats[weights].dims[:: 1 if transposed else -1]
        parts = [f"{weights}{'_T' if transposed else ''}_{part}" for part in ("blocks", "scales")]
        if parts[0] not in self._made:
            values = self._values(weights)
            for name, array in zip(parts, quantized_blocks(values.T if transposed else values), strict=True):
                self._made[name] = self._stored(name, array)
        shape = {"K": size, "N": outputs, "bits": 8, "block_size": _BLOCK}
        words = [inputs, *parts]
        self._nodes.append(helper.make_node("MatMulNBits", words, [answer], domain="com.microsoft", **shape))

    def _gather(self, node: Any) -> None:
        """table[ids] becomes float(rounded[ids]) · scales[ids]."""
        from onnx import TensorProto, helper

        name, ids, (answer,) = node.input[0], node.input[1], node.output
        rounded, scales = f"{name}.rounded", f"{name}.scales"
        if rounded not in self._made:
            for part, array in zip((rounded, scales), quantized_rows(self._values(name)), strict=True):
                self._made[part] = self._stored(part, array)
        self._nodes += [
            helper.make_node("Gather", [rounded, ids], [f"{answer}.rounded"]),
            helper.make_node("Gather", [scales, ids], [f"{answer}.scales"]),
            helper.make_node("Cast", [f"{answer}.rounded"], [f"{answer}.float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [f"{answer}.float", f"{answer}.scales"], [answer]),
        ]

    def _values(self, name: str) -> "Array":
        from onnx import numpy_helper

        # A copy: what is read from a file would stay in the graph.
        return numpy_helper.to_array(_copy(self._floats[name]), str(self._folder))

    def _kept(self, tensor: Any) -> Any:
        from onnx import numpy_helper

        if not tensor.external_data:
            return tensor
        return self._stored(tensor.name, numpy_helper.to_array(_copy(tensor), str(self._folder)))

    def _stored(self, name: str, array: "Array") -> Any:
        """A tensor of the graph; of a large one the numbers are appended to the file."""
        from onnx import external_data_helper, numpy_helper

        tensor = numpy_helper.from_array(array, name)
        if self._data is not None and array.nbytes >= _INLINE:
            with self._data.open("ab") as file:
                offset = file.tell()
                file.write(tensor.raw_data)
            external_data_helper.set_external_data(tensor, self._data.name, offset, array.nbytes)
            tensor.ClearField("raw_data")
        return tensor


def quantized_columns(weights: "Array") -> tuple["Array", "Array", "Array"]:
    """Weights `(inputs, outputs)` as uint8, and the scale and zero point of each column.

        weight ≈ (number - zero point) · scale

    A release must be right on every processor. On x86 with neither VNNI nor AMX, ONNX Runtime adds two
    products with signed weights in 16 bits, where they saturate; unsigned ones it widens first. Worst cosine
    over all that `verify` runs, on an AMD EPYC with AVX2 only, and in brackets of the same graph in exact
    integers: the tests' two-layer decoder 0.775 (0.980) signed, 0.972 (0.972) unsigned; mini 0.985 (0.986)
    and 0.985 (0.985), in the mean 0.9931 (0.9941) and 0.9940 (0.9940). Unsigned weights leave VNNI and AMX
    unused, though; benchmarks/LOG.md has more.
    """
    import numpy as np

    lowest, highest = np.minimum(weights.min(axis=0), 0), np.maximum(weights.max(axis=0), 0)
    scales = (highest.astype(np.float64) - lowest) / 255
    flat = scales < np.finfo(np.float32).tiny  # a column of zeros
    scales[flat] = 1
    zeros = np.where(flat, 0, np.round(-lowest / scales)).astype(np.uint8)
    scales = scales.astype(np.float32)
    numbers = (weights / scales).round() + zeros
    return numbers.clip(0, 255).astype(np.uint8), scales, zeros


def quantized_blocks(weights: "Array") -> tuple["Array", "Array"]:
    """Weights `(inputs, outputs)` as uint8 `(outputs, blocks, 32)`, and the scale of each block, in a row.

        weight ≈ (number - 128) · scale

    The last block of a column is filled up with zeros.
    """
    import numpy as np

    size, outputs = weights.shape
    padded = np.pad(weights.T, ((0, 0), (0, -size % _BLOCK)))
    blocks = padded.reshape(outputs, -1, _BLOCK)
    scales = np.maximum(np.abs(blocks).max(axis=2, keepdims=True), np.finfo(np.float32).tiny) / 127
    numbers = (blocks / scales).round() + 128
    return numbers.astype(np.uint8), scales.astype(np.float32).reshape(-1)


def quantized_rows(table: "Array") -> tuple["Array", "Array"]:
    """A table `(rows, dim)` as int8, and the scale of each row `(rows, 1)`."""
    import numpy as np

    scales = np.maximum(np.abs(table).max(axis=1, keepdims=True), np.finfo(np.float32).tiny) / 127
    return np.round(table / scales).astype(np.int8), scales.astype(np.float32)


def _copy(message: Any) -> Any:
    """A protobuf message with memory of its own, which is freed with it."""
    found = type(message)()
    found.CopyFrom(message)
    return found
