"""The golden texts' vectors by ONNX Runtime, which reads the release's `onnx/` and nothing of torch.

python with_onnxruntime.py FOLDER OUT.npz
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import transformers
from golden_passes import Embed, paddings_of, write_passes
from transformers import AutoTokenizer

FILES = {"float32": "model.onnx", "int8": "model_quantized.onnx"}


def models(folder: Path) -> Iterator[tuple[str, Embed]]:
    """Each exported graph that is there."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for precision, file in FILES.items():
        if not (folder / "onnx" / file).is_file():
            continue
        session = onnxruntime.InferenceSession(folder / "onnx" / file, providers=["CPUExecutionProvider"])

        def embed(texts: list[str], padding: str, session: Any = session) -> Any:
            tokenizer.padding_side = padding
            tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
            asked = {name: tokens[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
            return session.run(["sentence_embedding"], asked)[0]

        yield precision, embed


if __name__ == "__main__":
    release = Path(sys.argv[1])
    versions = {"onnxruntime": onnxruntime.__version__, "transformers": transformers.__version__}
    write_passes(release, Path(sys.argv[2]), models(release), versions, paddings_of(release))
