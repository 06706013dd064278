"""The whole model as one ONNX graph: token ids in, unit vector out, Dense layers included.

ONNX Runtime, OpenVINO, text-embeddings-inference on a CPU and transformers.js read it. Prompts and tokenizer
are not part of it.
"""

import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from codequarry.common.errors import UserError
from codequarry.common.files import read_json
from codequarry.modules.golden_vectors import GOLDEN
from codequarry.modules.static_files import is_static
from codequarry.release.module_list import DENSE_WEIGHTS, dense_layers, saved_modules
from codequarry.release.onnx_int8 import write_int8
from codequarry.release.runner import int64_tokens, prompted_texts, tokenizer_of
from codequarry.release.runtimes import TOLERANCES
from codequarry.release.static import static_pipeline

OnnxPrecision = Literal["fp32", "int8"]

# Where the readers look, and under which names.
FOLDER = "onnx"
FILES: dict[OnnxPrecision, str] = {"fp32": "model.onnx", "int8": "model_quantized.onnx"}
_NEEDED = ("onnx", "onnxscript", "onnxruntime")


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
    _write_graph(folder, whole)
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


def _write_graph(folder: Path, path: Path) -> None:
    import torch

    model = _pipeline(folder)
    # Two texts of different length, so that no size of the example becomes a constant.
    ids = torch.ones(2, 7, dtype=torch.int64)
    mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    batch, tokens = torch.export.Dim("batch"), torch.export.Dim("tokens")
    with torch.inference_mode(), warnings.catch_warnings(), _without_advice():
        warnings.simplefilter("ignore")  # two axes of one size have one name, as they should
        program = torch.onnx.export(
            model,
            (ids, mask),
            input_names=["input_ids", "attention_mask"],
            output_names=["token_embeddings", "sentence_embedding"],
            dynamic_shapes={"input_ids": {0: batch, 1: tokens}, "attention_mask": {0: batch, 1: tokens}},
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    for node in program.model.graph:  # stack traces of the export, which hold paths of this machine
        node.metadata_props.clear()
    # A protobuf ends at 2 GB; past that the weights are files of their own.
    size = sum(weights.nbytes for weights in model.parameters())
    program.save(path, external_data=size > 1_500_000_000)


def _pipeline(folder: Path) -> Any:
    import torch
    from safetensors.torch import load_file
    from torch import Tensor, nn
    from transformers import AutoModel

    if is_static(folder):
        return static_pipeline(folder)
    pooling = read_json(folder / "1_Pooling" / "config.json")

    class Unit(nn.Module):
        def forward(self, vectors: Tensor) -> Tensor:
            return nn.functional.normalize(vectors, dim=1)

    head: list[nn.Module] = []
    layers = iter(dense_layers(folder))
    for name, _ in saved_modules(folder)[2:]:
        if name == "Normalize":
            head.append(Unit())
            continue
        layer = next(layers)
        linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
        weights = load_file(folder / layer.path / DENSE_WEIGHTS)
        linear.load_state_dict({key.removeprefix("linear."): held for key, held in weights.items()})
        head += [linear, nn.Tanh()] if layer.activation_function.endswith("Tanh") else [linear]

    class Pipeline(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = AutoModel.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager"
            )
            self.head = nn.Sequential(*head)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
            hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            if pooling["pooling_mode_lasttoken"]:
                places = torch.arange(1, attention_mask.shape[1] + 1)
                last = (attention_mask * places).argmax(1)
                pooled = hidden[torch.arange(hidden.shape[0]), last]
            elif pooling["pooling_mode_cls_token"]:
                pooled = hidden[torch.arange(hidden.shape[0]), attention_mask.argmax(1)]
            else:
                weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * weights).sum(1) / weights.sum(1)
            return hidden, self.head(pooled)

    return Pipeline().eval()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Within the block errors alone are logged: the exporter lists what it does without torchvision."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
