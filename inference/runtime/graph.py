"""ONNX Runtime and OpenVINO as runtimes of a loaded model, over the ONNX graph of its folder."""

import threading
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from codequarry.common.environment import has_fast_bf16
from codequarry.common.errors import MissingPackageError, UserError
from codequarry.inference.encoder import Vectors
from codequarry.inference.runtime.attached import PackedRuntime, check_call, tokenize_cut
from codequarry.inference.runtime.engine import Unsupported
from codequarry.inference.runtime.graph_file import read_graph
from codequarry.inference.runtime.snapshot import Snapshot
from codequarry.inference.runtime.windows import Ids, ahead
from codequarry.modules.embedder import CodeEmbedder
from codequarry.modules.instruction_prefix import InstructionPrefix

GraphName = Literal["onnx", "openvino"]
PACKAGES: dict[GraphName, str] = {"onnx": "onnxruntime", "openvino": "openvino"}

Inputs = Mapping[str, NDArray[np.int64]]  # `input_ids` and `attention_mask`, `(texts, tokens)`
Run = Callable[[Inputs], Vectors]

_BATCH = 8  # texts: both were faster with 8 than with 32 on documents (AMD Zen 3)


class GraphRuntime:
    """Computes the vectors of a `CodeEmbedder` on its folder's graph, while it has the folder's weights.

    Arguments:
        name: `onnx` computes in float32; `openvino` also in bfloat16 under `torch.autocast`, where the
            processor is fast in it.
        folder: of the model, see `read_graph`.
        model: as it was loaded from there.

    After its weights or modules are changed, sentence-transformers computes; `reason` then says why. Copies
    and pickles of the model, whose weights may be changed, get a `PackedRuntime`, which has the same vectors.

    Raises UserError for a model that no graph is made of, and MissingPackageError without the package.
    """

    def __init__(self, name: GraphName, folder: Path, model: CodeEmbedder) -> None:
        package = PACKAGES[name]
        if find_spec(package) is None:
            raise MissingPackageError(
                f"runtime={name!r} needs {package}, which is not installed: pip install 'codequarry[{name}]'"
            )
        self.name = name
        self.reason: str | None = None
        try:
            check_call(model, ["x"], "sentence_embedding", None, {})
            self._seen = Snapshot(model)
            self._graph = read_graph(folder)
        except Unsupported as error:
            raise UserError(f"runtime={name!r} does not compute this model: {error}.") from error
        self._runs: dict[bool, Run] = {}
        self._opening = threading.Lock()

    @property
    def bf16(self) -> bool:
        """Whether it computes in bfloat16 under `torch.autocast`."""
        return self.name == "openvino" and has_fast_bf16("cpu")

    def __deepcopy__(self, memo: Any) -> PackedRuntime:
        return PackedRuntime()

    def __reduce__(self) -> tuple[type[PackedRuntime], tuple[()]]:
        return PackedRuntime, ()

    def infer(
        self,
        model: CodeEmbedder,
        inputs: Sequence[Any],
        *,
        prompt: str | None,
        output_value: str | None,
        normalize_embeddings: bool,
        truncate_dim: int | None,
        show_progress_bar: bool,
        device: Any = None,
        **others: Any,
    ) -> Tensor | None:
        """Vectors `(texts, dims)` in the order of `inputs`, or None for what the stock way has to compute.

        Arguments and errors are those of `PackedRuntime.infer`.
        """
        try:
            check_call(model, inputs, output_value, device, others)
            if not self._seen.is_still(model):
                raise Unsupported("it was changed after it was loaded")
        except Unsupported as error:
            self.reason = str(error)
            return None
        self.reason = None
        transformer = model[0]
        assert isinstance(transformer, InstructionPrefix)
        transformer.check_prompt(prompt or "")
        run = self._run(self.bf16 and torch.is_autocast_enabled("cpu"))
        found: Tensor | None = None

        def tokenize(texts: list[str]) -> Ids:
            return tokenize_cut(transformer.tokenizer, texts)

        with tqdm(total=len(inputs), desc="Texts", disable=not show_progress_bar) as bar:
            for window, ids in ahead(tokenize, inputs, prompt or ""):
                vectors = torch.from_numpy(padded(run, ids, bar.update))[:, :truncate_dim]
                if found is None:
                    found = torch.empty(len(inputs), vectors.shape[1])
                found[window] = functional.normalize(vectors, dim=-1) if normalize_embeddings else vectors
        return found

    def _run(self, bf16: bool) -> Run:
        with self._opening:
            if bf16 not in self._runs:
                threads = torch.get_num_threads()
                self._runs[bf16] = (
                    open_onnx(self._graph, threads)
                    if self.name == "onnx"
                    else open_openvino(self._graph, threads, bf16=bf16)
                )
            return self._runs[bf16]


def open_onnx(graph: bytes | Path, threads: int) -> Run:
    """The graph in ONNX Runtime, on the processor; a file, where its weights lie beside it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = threads
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Vectors:
        found: Vectors = session.run(["sentence_embedding"], dict(inputs))[0]
        return found

    return run


def open_openvino(graph: bytes | Path, threads: int, *, bf16: bool) -> Run:
    """The graph in OpenVINO, on the processor, in float32 or bfloat16; one call at a time."""
    import openvino

    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    computing = threading.Lock()

    def run(inputs: Inputs) -> Vectors:
        with computing:
            return np.array(compiled(dict(inputs))["sentence_embedding"], dtype=np.float32)

    return run


def padded(run: Run, ids: Sequence[Sequence[int]], advance: Callable[[int], object] | None = None) -> Vectors:
    """Vectors `(texts, dim)` of token ids, in batches of 8 texts sorted by length, padded to their longest.

    Arguments: `advance`, called with the texts of each batch that is done. At least one text.
    """
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]))
    found: Vectors | None = None
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        shape = len(batch), len(ids[batch[-1]])
        inputs = {name: np.zeros(shape, np.int64) for name in ("input_ids", "attention_mask")}
        for row, place in enumerate(batch):
            inputs["input_ids"][row, : len(ids[place])] = ids[place]
            inputs["attention_mask"][row, : len(ids[place])] = 1
        vectors = run(inputs)
        if found is None:
            found = np.empty((len(ids), vectors.shape[1]), np.float32)
        found[batch] = vectors
        if advance is not None:
            advance(len(batch))
    assert found is not None, "there is a text"
    return found
