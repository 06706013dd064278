"""A model as one ONNX graph, token ids in and unit vectors out: how it is written, and where one is kept."""

import hashlib
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codequarry.common.errors import MissingPackageError, UserError
from codequarry.common.files import (
    atomic_path,
    cache_folder,
    file_sha256,
    one_process_at_a_time,
    read_json,
    read_regular,
)
from codequarry.inference.model_checks import weight_files
from codequarry.inference.runtime.folder import stored_modules
from codequarry.modules.saved_weights import stored_shapes

if TYPE_CHECKING:
    from torch import Tensor, nn

FOLDER, GRAPH = "onnx", "model.onnx"  # where the readers of a release look
EXPORTERS = ("onnx", "onnxscript")
LARGEST = 1_500_000_000  # bytes of float32 weights in one file: a protobuf ends at 2 GB

_LAYOUT = 1  # of the graphs that are kept; one of another layout is made anew


def read_graph(folder: Path) -> bytes:
    """The graph of a model's folder in float32: a release's own, or one that is made at the first time.

    A release's is taken if its `manifest.json` lists it with its sha256. Others are kept in the cache, under
    a hash of all files that they are made of.

    Raises Unsupported for modules that no plain graph computes, UserError for more weights than a graph
    holds in one file, and MissingPackageError where a graph has to be made and its packages are missing.

    >>> len(read_graph(Path("models/mini")))
    90901374
    """
    config = read_json(folder / "config.json")
    mode, normalizes = stored_modules(folder, config)
    files = weight_files(folder)
    if sum(4 * prod(shape) for shape, _ in stored_shapes(files).values()) > LARGEST:
        raise UserError(f"{folder} has more weights than a graph holds in one file: use runtime='packed'.")
    if (own := _listed(folder)) is not None:
        return own
    parts = [folder / "config.json", folder / "modules.json", *sorted(folder.glob("*/config.json")), *files]
    named = "".join(f"{path.relative_to(folder)} {file_sha256(path)}\n" for path in parts)
    key = hashlib.sha256(f"{_LAYOUT}\n{named}".encode()).hexdigest()
    path = cache_folder("graphs") / f"{key[:32]}.onnx"
    if not path.is_file():
        if missing := [name for name in EXPORTERS if find_spec(name) is None]:
            raise MissingPackageError(
                f"{folder} comes without an ONNX graph, and {' and '.join(missing)} to make one is missing: "
                "pip install 'codequarry[onnx]'"
            )
        with one_process_at_a_time(path):
            if not path.is_file():
                with atomic_path(path) as writing:
                    write_graph(pipeline(folder, mode, [unit()] if normalizes else []), writing)
    return read_regular(path, 2 * LARGEST)


def _listed(folder: Path) -> bytes | None:
    """The graph in a release's folder, if it is the one that the release was built with."""
    path = folder / FOLDER / GRAPH
    if not path.is_file() or not (folder / "manifest.json").is_file():
        return None
    data = read_regular(path, LARGEST)
    entry: Any = read_json(folder / "manifest.json").get("files", {}).get(f"{FOLDER}/{GRAPH}")
    wanted = entry.get("sha256") if isinstance(entry, dict) else entry
    return data if wanted == hashlib.sha256(data).hexdigest() else None


def write_graph(model: Any, path: Path) -> None:
    """Write a module that takes ids and mask, and gives the vectors of tokens and of texts, as a graph.

    It takes `input_ids` and `attention_mask`, both (batch, tokens) of int64, padded on either side, and gives
    `token_embeddings` (batch, tokens, dim) and `sentence_embedding` (batch, dim).
    """
    import torch

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
    # Past the limit the weights are files of their own.
    size = sum(weights.nbytes for weights in model.parameters())
    program.save(path, external_data=size > LARGEST)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Within the block errors alone are logged: the exporter lists what it does without torchvision."""
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def unit() -> "nn.Module":
    """A module that divides each vector by its length."""
    from torch import nn

    class Unit(nn.Module):
        def forward(self, vectors: "Tensor") -> "Tensor":
            return nn.functional.normalize(vectors, dim=1)

    return Unit()


def pipeline(folder: Path, pooling: str, head: "Sequence[nn.Module]") -> "nn.Module":
    """The backbone of a folder in float32, its pooling (`mean`, `cls` or `lasttoken`) and the modules behind.

    Shapes: `input_ids` and `attention_mask (batch, tokens)` to `(batch, tokens, dim)` and `(batch, dim)`.
    """
    import torch
    from torch import Tensor, nn
    from transformers import AutoModel

    class Pipeline(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone = AutoModel.from_pretrained(
                folder, dtype=torch.float32, attn_implementation="eager"
            )
            self.head = nn.Sequential(*head)

        def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
            hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            if pooling == "lasttoken":
                places = torch.arange(1, attention_mask.shape[1] + 1)
                last = (attention_mask * places).argmax(1)
                pooled = hidden[torch.arange(hidden.shape[0]), last]
            elif pooling == "cls":
                pooled = hidden[torch.arange(hidden.shape[0]), attention_mask.argmax(1)]
            else:
                weights = attention_mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * weights).sum(1) / weights.sum(1)
            return hidden, self.head(pooled)

    return Pipeline().eval()
