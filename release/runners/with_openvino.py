"""The golden texts' vectors by OpenVINO, which reads `onnx/model.onnx`.

python with_openvino.py FOLDER OUT.npz
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import transformers
from golden_passes import Embed, paddings_of, write_passes
from transformers import AutoTokenizer


def embedder(folder: Path) -> Embed:
    """The graph in float32; left to itself, OpenVINO takes bfloat16 where the processor has it."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    graph = folder / "onnx" / "model.onnx"
    model = openvino.Core().compile_model(graph, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def embed(texts: list[str], padding: str) -> Any:
        tokenizer.padding_side = padding
        tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
        asked = {name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        return np.array(model(asked)["sentence_embedding"])

    return embed


if __name__ == "__main__":
    release = Path(sys.argv[1])
    versions = {
        "openvino": openvino.__version__.partition("-")[0],
        "transformers": transformers.__version__,
    }
    write_passes(release, Path(sys.argv[2]), [("float32", embedder(release))], versions, paddings_of(release))
