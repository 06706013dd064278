"""The golden texts' vectors by nothing but sentence-transformers (3.4.1 or newer).

python with_sentence_transformers.py FOLDER OUT.npz
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import sentence_transformers
import torch
import transformers
from golden_passes import batches, in_float32, paddings_of
from sentence_transformers import SentenceTransformer

TOKENS = ("input_ids", "attention_mask")  # what decides an answer


def main(folder: Path, out: Path) -> None:
    golden = json.loads((folder / "golden_vectors.json").read_text(encoding="utf-8"))
    model = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    paddings = paddings_of(folder)
    found = passes(model, golden, paddings)
    if dtype_of(model) != "float32":
        # The same weights in float32 must meet the golden vectors as closely as weights stored so.
        found |= passes(in_float32(model), golden, paddings)
    np.savez(out, **found)
    versions = {
        "sentence-transformers": sentence_transformers.__version__,
        "transformers": transformers.__version__,
        "torch": torch.__version__,
    }
    print(json.dumps(versions))


def dtype_of(model: SentenceTransformer) -> str:
    """The type of the model's weights, such as `float32`."""
    return str(next(model.parameters()).dtype).removeprefix("torch.")


def passes(model: SentenceTransformer, golden: dict[str, Any], paddings: list[str]) -> dict[str, Any]:
    """One text at a time, then 16 at a time: every dimension, and each side that padding may stand on."""
    plain: dict[str, Any] = {"normalize_embeddings": True, "show_progress_bar": False}
    rows, (full, *_) = golden["rows"], golden["dims"]
    precision = dtype_of(model)
    model.truncate_dim = None
    alone = [model.encode([row["text"]], prompt_name=row["prompt_name"], **plain)[0] for row in rows]
    found = {f"{precision} right 1 {full}": np.array(alone)}
    # `encode` takes one prompt a call; written out, the prompts of all tasks share a batch, short and long.
    joined = [golden["prompts"][row["prompt_name"]] + row["text"] for row in rows]
    groups = batches(joined, 16)
    back = np.argsort(np.concatenate(groups))
    forward = model.forward
    for padding in paddings:
        model.tokenizer.padding_side = padding
        vars(model)["forward"] = computed_once(forward)  # found before the method
        # The cut comes after the model, so one side is enough for the smaller dimensions.
        for dim in golden["dims"] if padding == "right" else [full]:
            model.truncate_dim = dim
            vectors = [
                model.encode([joined[place] for place in places], batch_size=16, **plain) for places in groups
            ]
            found[f"{precision} {padding} 16 {dim}"] = np.concatenate(vectors)[back]
    del vars(model)["forward"]
    model.tokenizer.padding_side = "right"
    return found


def computed_once(forward: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """`forward` of a model, which computes for the same tokens no second time.

    `encode` does all else anew for each dimension: tokens, batches, the cut, the length, the order of texts.
    On a large model five dimensions would otherwise take five times as long to say the same.
    """
    known: dict[Any, Any] = {}

    def answer(features: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        key = tuple((*features[name].shape, features[name].numpy().tobytes()) for name in TOKENS)
        if key not in known:
            known[key] = forward(features, **kwargs)["sentence_embedding"]
        return {"sentence_embedding": known[key]}

    return answer


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
