"""ONNX Runtime, OpenVINO and fastembed over a release's graph, to compare our own runtime's speed with."""

import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from codequarry.common.environment import has_fast_bf16
from codequarry.inference.encoder import Vectors
from codequarry.inference.runtime.graph import Run, open_onnx, open_openvino, padded

Embed = Callable[[Sequence[str], str], Vectors]  # texts and their prompt


@dataclass
class Contender:
    """A way to embed, and what it did. documents, query: CPU seconds of each round."""

    name: str
    embed: Embed
    documents: list[float] = field(default_factory=list)
    query: list[float] = field(default_factory=list)
    cosine: float = 0.0  # the worst to stock in float32


def other_runtimes(release: Path, tokenizer: Any, work: Path) -> Iterator[Contender]:
    """ONNX Runtime, OpenVINO and fastembed, where they are installed, with as many threads as torch has.

    Arguments: `release`, the folder of the model; `tokenizer`, transformers'; `work` gets the graphs.
    """
    if find_spec("onnxruntime") is None or find_spec("onnxscript") is None:
        print("ONNX Runtime is not measured: pip install 'codequarry[onnx]'", file=sys.stderr)
        return
    if not (release / "manifest.json").is_file():
        print(
            "ONNX Runtime and OpenVINO are measured on a release: codequarry release build", file=sys.stderr
        )
        return
    from codequarry.release.onnx import FILES, FOLDER, export_onnx

    folder, threads = work / "graphs", torch.get_num_threads()
    shutil.copytree(release, folder)
    export_onnx(folder, ["fp32", "int8"])
    whole, small = (folder / FOLDER / FILES[precision] for precision in ("fp32", "int8"))
    yield Contender("ONNX Runtime", partial(_embed, tokenizer, open_onnx(whole, threads)))
    yield Contender("ONNX Runtime, int8", partial(_embed, tokenizer, open_onnx(small, threads)))
    if find_spec("openvino") is None:
        print("OpenVINO is not measured: pip install 'codequarry[openvino]'", file=sys.stderr)
    else:
        yield Contender("OpenVINO", partial(_embed, tokenizer, open_openvino(whole, threads, bf16=False)))
        if has_fast_bf16("cpu"):
            run = open_openvino(whole, threads, bf16=True)
            yield Contender("OpenVINO, bf16", partial(_embed, tokenizer, run))
    if find_spec("fastembed") is None:
        print("fastembed is not measured: pip install fastembed", file=sys.stderr)
    else:
        yield Contender("fastembed", _fastembed(folder, threads))


def _embed(tokenizer: Any, run: Run, texts: Sequence[str], prompt: str) -> Vectors:
    return padded(
        run, tokenizer([prompt + text for text in texts], truncation=True, verbose=False)["input_ids"]
    )


def _fastembed(folder: Path, threads: int) -> Embed:
    """fastembed's own class for models of the user, read from a folder and without the network."""
    from fastembed import TextEmbedding
    from fastembed.common.model_description import (
        ModelSource,
        PoolingType,
    )

    name = "codequarry/measured"
    TextEmbedding.add_custom_model(
        model=name,
        pooling=PoolingType.MEAN,
        normalization=True,
        sources=ModelSource(hf=name),
        dim=0,
        model_file="onnx/model.onnx",
    )
    model = TextEmbedding(name, threads=threads, specific_model_path=str(folder))

    def embed(texts: Sequence[str], prompt: str) -> Vectors:
        found = list(model.embed([prompt + text for text in texts], batch_size=8))
        return np.stack(found).astype(np.float32)

    return embed
