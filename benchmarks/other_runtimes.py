"""ONNX Runtime and OpenVINO over graphs of a release, to compare the speed of our own runtime with."""

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

_BATCH = 8  # texts: both were faster with 8 than with 32 on documents (AMD Zen 3)
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
    """ONNX Runtime and OpenVINO, where they are installed, with as many threads as torch has.

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

    folder = work / "graphs"
    shutil.copytree(release, folder)
    export_onnx(folder, ["fp32", "int8"])
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = torch.get_num_threads()
    for label, precision in (("ONNX Runtime", "fp32"), ("ONNX Runtime, int8", "int8")):
        path = folder / FOLDER / FILES[precision]  # type: ignore[index]
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def embed(inputs: dict[str, Any], session: Any = session) -> Any:
            return session.run(["sentence_embedding"], inputs)[0]

        yield Contender(label, partial(_padded, tokenizer, embed))
    if find_spec("openvino") is None:
        print("OpenVINO is not measured: pip install 'codequarry[openvino]'", file=sys.stderr)
        return
    import openvino

    graph = folder / FOLDER / FILES["fp32"]
    for label, hint in (("OpenVINO", "f32"), ("OpenVINO, bf16", "bf16")):
        if hint == "bf16" and not has_fast_bf16("cpu"):
            continue
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        compiled = openvino.Core().compile_model(graph, "CPU", settings)

        def run(inputs: dict[str, Any], compiled: Any = compiled) -> Any:
            return np.array(compiled(inputs)["sentence_embedding"])

        yield Contender(label, partial(_padded, tokenizer, run))


def _padded(
    tokenizer: Any, embed: Callable[[dict[str, Any]], Any], texts: Sequence[str], prompt: str
) -> Vectors:
    """Batches of 8 texts, sorted by their true length, padded to the longest."""
    ids = tokenizer([prompt + text for text in texts], truncation=True, verbose=False)["input_ids"]
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    found = None
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        longest = len(ids[batch[-1]])
        inputs = {
            "input_ids": np.zeros((len(batch), longest), np.int64),
            "attention_mask": np.zeros((len(batch), longest), np.int64),
        }
        for row, place in enumerate(batch):
            inputs["input_ids"][row, : len(ids[place])] = ids[place]
            inputs["attention_mask"][row, : len(ids[place])] = 1
        vectors = embed(inputs)
        if found is None:
            found = np.empty((len(ids), vectors.shape[1]), np.float32)
        found[batch] = vectors
    assert found is not None
    return found
