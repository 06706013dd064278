"""The whole model as one ONNX graph: token ids in, unit vector out, Dense layers included.

ONNX Runtime, OpenVINO, text-embeddings-inference on a CPU and transformers.js read it. Prompts and tokenizer
are not part of it.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.inference.runtime.graph_file import EXPORTERS, GRAPH, pipeline, unit, write_graph
from codequarry.inference.runtime.graph_file import FOLDER as FOLDER
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.modules.static_files import is_static
from codequarry.release.module_list import DENSE_WEIGHTS, dense_layers, pooling_modes, saved_modules
from codequarry.release.onnx_int8 import write_int8
from codequarry.release.runner import int64_tokens, prompted_texts, tokenizer_of
from codequarry.release.runtimes import TOLERANCES
from codequarry.release.static import static_pipeline

OnnxPrecision = Literal["fp32", "int8"]

FILES: dict[OnnxPrecision, str] = {"fp32": GRAPH, "int8": "model_quantized.onnx"}
_NEEDED = (*EXPORTERS, "onnxruntime")


def export_onnx(
    folder: Path,
    precisions: Sequence[OnnxPrecision] = ("fp32",),
    *,
    say: Callable[[str], None] = lambda what: None,
) -> None:
    """Write `onnx/` into a release folder that has its weights and configuration.

    The graph takes `input_ids` and `attention_mask`, both (batch, tokens) of int64, padded on either side,
    and gives `token_embeddings` (batch, tokens, dim) and `sentence_embedding` (batch, dim), of length 1.
    `int8` has its matrices rounded to 8 bits, a quarter of the size, and activations as they are multiplied;
    these stay in float32 where golden vectors, if the folder has them, are not met otherwise.

    say: gets a few words before each step, of which a large model's take minutes.

    Raises UserError for an unknown precision, and when onnx, onnxscript or onnxruntime is missing.

    >>> export_onnx(Path("releases/mini"), ["fp32", "int8"])
    """
    refuse_missing(precisions)
    if not precisions:
        return
    out = folder / FOLDER
    out.mkdir(exist_ok=True)
    whole = out / FILES["fp32"]
    say("ONNX, fp32")
    write_graph(_pipeline(folder), whole)
    if "int8" in precisions:
        say("ONNX, int8")
        rounded = out / FILES["int8"]
        write_int8(whole, rounded)
        if (folder / GOLDEN).is_file() and not _keeps_vectors(folder, rounded):
            say("ONNX, int8 of the weights alone, as the vectors did not bear rounded activations")
            write_int8(whole, rounded, weights_only=True)
    if "fp32" not in precisions:
        for part in out.glob(f"{whole.name}*"):
            part.unlink()


def _keeps_vectors(folder: Path, graph: Path) -> bool:
    """Whether ONNX Runtime gives the golden vectors with this graph, within what `verify` allows in int8."""
    import numpy as np
    import onnxruntime

    golden, least = read_json(folder / GOLDEN), TOLERANCES["int8"].cosine or 0.0
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    tokenizer = tokenizer_of(folder)
    for text, row in zip(prompted_texts(golden), golden["rows"], strict=True):
        (vector,) = session.run(["sentence_embedding"], int64_tokens(tokenizer, [text], "right"))[0]
        if not float(np.dot(vector, row["vector"])) >= least:
            return False
    return True


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
